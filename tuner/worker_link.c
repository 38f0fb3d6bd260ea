/* worker_link.c: see worker_link.h. */
#define _GNU_SOURCE
#include "worker_link.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper.h"
#include "os.h"

static void drop(mj_link *link)
{
    mj_child_kill(&link->child);
    link->is_open = link->is_prepared = false;
}

static mj_status wait_reply(mj_link *link, double seconds, mj_json **reply, mj_error *error)
{
    double end = mj_os_monotonic_seconds() + seconds;
    for (;;) {
        mj_status status = mj_child_receive(&link->child, reply, error);
        if (status != MJ_ERR_NOT_FOUND) {
            return status;
        }
        double left = end - mj_os_monotonic_seconds();
        if (left <= 0) {
            return mj_fail(error, MJ_ERR_TIMEOUT, "no answer within %.1f s", seconds);
        }
        double step = left < link->idle_seconds ? left : link->idle_seconds;
        if (link->idle) {
            status = link->idle(link->user, link->child.fd, step, error);
        } else {
            struct pollfd entry = {.fd = link->child.fd, .events = POLLIN};
            poll(&entry, 1, (int)(step * 1000) + 1);
            status = MJ_OK;
        }
        if (status != MJ_OK) {
            return status;
        }
    }
}

/* One exchange with a running process. */
static mj_status exchange(mj_link *link, const mj_json *request, double seconds, mj_json **reply, mj_error *error)
{
    *reply = NULL;
    mj_error local = {0};
    mj_status status = mj_child_send(&link->child, request, &local);
    if (status == MJ_OK) {
        status = wait_reply(link, seconds, reply, &local);
    } else if (status == MJ_ERR_CHILD) { /* it left before reading: it may have said why */
        mj_json *last_words = NULL;
        status = mj_child_wait(&link->child, 2, &last_words, &local);
        mj_json_free(last_words);
        status = status == MJ_OK || status == MJ_ERR_TIMEOUT ? MJ_ERR_CHILD : status;
    }
    if (status == MJ_ERR_FORMAT) { /* rubbish on the wire is a corrupted process */
        status = MJ_ERR_CHILD;
    }
    if (status == MJ_OK) {
        status = mj_reply_status(*reply, &local);
    }
    if (status == MJ_OK) {
        link->losses_in_row = 0;
        return MJ_OK;
    }
    mj_json_free(*reply);
    *reply = NULL;
    bool lost = status == MJ_ERR_TIMEOUT || status == MJ_ERR_CHILD || status == MJ_ERR_DEVICE_LOST ||
                status == MJ_ERR_INTERRUPTED;
    if (lost) {
        drop(link);
        link->losses_in_row += status != MJ_ERR_INTERRUPTED;
    }
    return mj_fail(error, status, "%s", local.text);
}

static mj_status ensure_open(mj_link *link, mj_error *error)
{
    if (link->is_open && link->child.pid > 0) {
        return MJ_OK;
    }
    if (link->restarts >= MJ_LINK_RESTARTS_MAX || link->losses_in_row >= MJ_LINK_LOSSES_IN_ROW_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%u workers were lost, %u of them in a row: giving up on this device",
                       link->restarts, link->losses_in_row);
    }
    bool first = link->restarts == 0 && link->device.info.id[0] == 0;
    mj_json *reply = NULL;
    drop(link);
    mj_status status = mj_child_start(link->path, NULL, 0, &link->child, error);
    if (status == MJ_OK) {
        status = exchange(link, link->open_request, link->open_seconds_max, &reply, error);
    }
    if (status == MJ_OK) {
        mj_json *device = NULL;
        status = mj_json_read_object(mj_json_get(reply, "results"), "device", &device, error);
        if (status == MJ_OK) {
            status = mj_wire_device_from_json(device, &link->device, error);
        }
    }
    mj_json_free(reply);
    link->is_open = status == MJ_OK;
    if (!first) {
        link->restarts++;
    }
    if (status != MJ_OK) {
        drop(link);
    } else if (!first) {
        snprintf(link->message, sizeof(link->message), "worker replaced (%u so far)", link->restarts);
    }
    return status;
}

mj_status mj_link_start(mj_link *link, const char *path, mj_json *open_request, mj_error *error)
{
    snprintf(link->path, sizeof(link->path), "%s", path);
    link->child = (mj_child){.fd = -1, .stderr_fd = -1};
    link->open_request = open_request;
    return open_request ? ensure_open(link, error) : mj_fail(error, MJ_ERR_MEMORY, "a request");
}

void mj_link_stop(mj_link *link)
{
    if (link->path[0] == 0) {
        return; /* never started */
    }
    mj_child_stop(&link->child, 5);
    mj_json_free(link->open_request);
    mj_json_free(link->prepare_request);
    memset(link, 0, sizeof(*link));
}

static mj_status ensure_prepared(mj_link *link, mj_json **reply, mj_error *error)
{
    mj_status status = ensure_open(link, error);
    if (status == MJ_OK && !link->is_prepared && link->prepare_request) {
        status = exchange(link, link->prepare_request, link->prepare_seconds_max, reply, error);
        link->is_prepared = status == MJ_OK;
    }
    return status;
}

mj_status mj_link_prepare(mj_link *link, mj_json *request, mj_json **reply, mj_error *error)
{
    *reply = NULL;
    mj_json_free(link->prepare_request);
    link->prepare_request = request;
    link->is_prepared = false;
    return request ? ensure_prepared(link, reply, error) : mj_fail(error, MJ_ERR_MEMORY, "a request");
}

mj_status mj_link_call(mj_link *link, mj_json *request, double seconds, mj_json **reply, mj_error *error)
{
    mj_json *prepared = NULL;
    *reply = NULL;
    mj_status status = request ? ensure_prepared(link, &prepared, error) : mj_fail(error, MJ_ERR_MEMORY, "a request");
    mj_json_free(prepared);
    if (status == MJ_OK) {
        status = exchange(link, request, seconds, reply, error);
    } else if (status != MJ_ERR_INTERRUPTED && status != MJ_ERR_CAPACITY && status != MJ_ERR_MEMORY) {
        char text[512]; /* not this request's fault: no retry can tell them apart from outside */
        snprintf(text, sizeof(text), "%.500s", error ? error->text : "");
        status = mj_fail(error, MJ_ERR_CAPACITY, "the worker could not be brought back: %s", text);
    }
    mj_json_free(request);
    return status;
}
