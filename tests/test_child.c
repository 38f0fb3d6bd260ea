/* Helper processes: this program starts itself as one (an argument names how it behaves) and watches what becomes of it. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "helper.h"
#include "os.h"

static char self_path[2048];

/* ---- The helper's side ---- */
static void echo(mj_helper *helper)
{
    mj_json *request = NULL;
    while (mj_helper_receive(helper, &request, NULL) == MJ_OK) {
        mj_json *reply = mj_reply_new(request, MJ_OK, NULL);
        mj_json_add(reply, "echo", mj_json_copy(request));
        mj_helper_send(helper, reply, NULL);
        mj_json_free(reply);
        mj_json_free(request);
        printf("noise on standard output must not reach the channel\n");
        fflush(stdout);
    }
}

static int helper_main(int argc, char **argv, const char *mode)
{
    mj_helper helper;
    mj_error error = {0};
    if (mj_helper_start(argc, argv, &helper, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 9;
    }
    if (strcmp(mode, "echo") == 0) {
        echo(&helper);
    } else if (strcmp(mode, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL); /* also under a sanitizer */
        raise(SIGSEGV);
    } else if (strcmp(mode, "exit") == 0) {
        fprintf(stderr, "last words\nof two lines\n");
        return 7;
    } else if (strcmp(mode, "hang") == 0) {
        for (volatile int i = 1; i;) {
        }
    } else if (strcmp(mode, "garbage") == 0) {
        if (write(helper.out_fd, "this is no frame at all, is it", 30) == 30) {
            pause();
        }
    } else if (strcmp(mode, "torn") == 0) {
        return write(helper.out_fd, "MJP1\x10\0\0\0", 8) == 8 ? 0 : 1;
    } else if (strcmp(mode, "family") == 0) { /* a grandchild that outlives its parent */
        pid_t pid = fork();
        if (pid == 0) {
            sleep(60);
            _exit(0);
        }
        mj_json *reply = mj_json_object();
        mj_json_add_int(reply, "pid", pid);
        mj_helper_send(&helper, reply, NULL);
        pause();
    } else if (strcmp(mode, "memory") == 0) {
        void *block = mmap(NULL, 1u << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mj_json *reply = mj_json_object();
        mj_json_add_bool(reply, "got", block != MAP_FAILED);
        mj_helper_send(&helper, reply, NULL);
        mj_json_free(reply);
    }
    mj_helper_end(&helper);
    return 0;
}

static mj_status start(const char *mode, uint64_t memory_bytes, mj_child *child)
{
    char argument[64];
    snprintf(argument, sizeof(argument), "--mode=%s", mode);
    const char *arguments[] = {argument, NULL};
    return mj_child_start(self_path, arguments, memory_bytes, child, NULL);
}

/* ---- The parent's side ---- */
TEST(messages_go_both_ways)
{
    mj_child child;
    CHECK_STATUS(start("echo", 0, &child), MJ_OK);
    for (int i = 0; i < 20; i++) {
        mj_json *request = mj_json_object(), *reply = NULL;
        mj_json_add_int(request, "id", i);
        char *text = malloc(200001); /* larger than a socket's buffer */
        CHECK(text);
        memset(text, 'x', 200000);
        text[200000] = 0;
        mj_json_add_string(request, "text", text);
        CHECK_STATUS(mj_child_send(&child, request, NULL), MJ_OK);
        CHECK_STATUS(mj_child_wait(&child, 10, &reply, NULL), MJ_OK);
        CHECK_STATUS(mj_reply_status(reply, NULL), MJ_OK);
        const mj_json *echoed = mj_json_get(mj_json_get(reply, "echo"), "text");
        CHECK_STRING(mj_json_value_string(echoed), text);
        CHECK(mj_json_value_number(mj_json_get(reply, "id")) == i);
        mj_json_free(request);
        mj_json_free(reply);
        free(text);
    }
    mj_child_stop(&child, 5);
    CHECK_INT(child.pid, 0);
    CHECK_CONTAINS(child.death, "exited with code 0");
}

static void check_death(const char *mode, mj_status want, const char *words)
{
    mj_child child;
    mj_json *reply = NULL;
    mj_error error = {0};
    CHECK_STATUS(start(mode, 0, &child), MJ_OK);
    CHECK_STATUS(mj_child_wait(&child, 10, &reply, &error), want);
    CHECK_CONTAINS(error.text, words);
    mj_child_kill(&child);
    CHECK_STATUS(mj_child_send(&child, NULL, NULL), MJ_ERR_CHILD);
}

TEST(a_crash_says_which_signal)
{
    check_death("segv", MJ_ERR_CHILD, "signal 11");
}
TEST(an_exit_says_code_and_last_words)
{
    check_death("exit", MJ_ERR_CHILD, "code 7");
    check_death("exit", MJ_ERR_CHILD, "last words|of two lines");
}
TEST(garbage_is_a_format_error)
{
    check_death("garbage", MJ_ERR_FORMAT, "magic");
}
TEST(a_torn_message_is_a_death)
{
    check_death("torn", MJ_ERR_CHILD, "code 0");
}

TEST(a_hang_is_a_timeout_and_can_be_killed)
{
    mj_child child;
    mj_json *reply = NULL;
    CHECK_STATUS(start("hang", 0, &child), MJ_OK);
    double begin = mj_os_monotonic_seconds();
    CHECK_STATUS(mj_child_wait(&child, 0.2, &reply, NULL), MJ_ERR_TIMEOUT);
    mj_child_kill(&child);
    CHECK(mj_os_monotonic_seconds() - begin < 5);
    CHECK_CONTAINS(child.death, "signal 9");
    mj_child_kill(&child); /* again: nothing to do */
}

static bool is_gone(pid_t pid)
{
    for (int i = 0; i < 400; i++) {
        char path[64], state = 0;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "r");
        if (!file) {
            return true;
        }
        if (fscanf(file, "%*d %*s %c", &state) != 1) {
            state = 0;
        }
        fclose(file);
        if (state == 'Z' || state == 'X' || state == 0) {
            return true; /* dead; whoever adopted it will reap it */
        }
        usleep(5000);
    }
    return false;
}

TEST(a_kill_reaches_the_whole_group)
{
    mj_child child;
    mj_json *reply = NULL;
    CHECK_STATUS(start("family", 0, &child), MJ_OK);
    CHECK_STATUS(mj_child_wait(&child, 10, &reply, NULL), MJ_OK);
    pid_t grandchild = (pid_t)mj_json_value_number(mj_json_get(reply, "pid"));
    mj_json_free(reply);
    CHECK(kill(grandchild, 0) == 0);
    mj_child_kill(&child);
    CHECK(is_gone(grandchild));
}

TEST(a_helper_dies_with_its_parent)
{
    int pipe_fds[2];
    CHECK(pipe(pipe_fds) == 0);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) { /* starts a hanging helper, tells its id, is killed */
        mj_child child;
        pid_t pid = start("hang", 0, &child) == MJ_OK ? child.pid : 0;
        ssize_t wrote = write(pipe_fds[1], &pid, sizeof(pid));
        pause();
        _exit(wrote == sizeof(pid) ? 0 : 1);
    }
    pid_t helper = 0;
    CHECK(read(pipe_fds[0], &helper, sizeof(helper)) == sizeof(helper));
    CHECK(helper > 0);
    usleep(100000); /* it needs a moment to ask for its parent's death */
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    CHECK(is_gone(helper));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

TEST(memory_is_limited)
{
#if defined(__SANITIZE_ADDRESS__) /* reserves more than any limit: helpers then set none */
    const bool limited = false;
#else
    const bool limited = true;
#endif
    mj_child child;
    mj_json *reply = NULL;
    CHECK_STATUS(start("memory", 512u << 20, &child), MJ_OK);
    CHECK_STATUS(mj_child_wait(&child, 10, &reply, NULL), MJ_OK);
    CHECK(mj_json_value_bool(mj_json_get(reply, "got")) == !limited);
    mj_json_free(reply);
    mj_child_stop(&child, 5);
    CHECK_STATUS(start("memory", 0, &child), MJ_OK);
    CHECK_STATUS(mj_child_wait(&child, 10, &reply, NULL), MJ_OK);
    CHECK(mj_json_value_bool(mj_json_get(reply, "got")));
    mj_json_free(reply);
    mj_child_stop(&child, 5);
}

TEST(a_missing_program_is_named)
{
    mj_child child;
    mj_error error = {0};
    char path[256];
    CHECK_STATUS(mj_child_start("/nonexistent/helper", NULL, 0, &child, &error), MJ_ERR_CHILD);
    CHECK_CONTAINS(error.text, "/nonexistent/helper");
    CHECK_STATUS(mj_child_find(NULL, "moejit-no-such-helper", path, sizeof(path), &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "moejit-no-such-helper");
    CHECK_STATUS(mj_child_find("/nonexistent/x", "sh", path, sizeof(path), &error), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(mj_child_find(NULL, "sh", path, sizeof(path), NULL), MJ_OK);
    CHECK_STATUS(mj_child_find(NULL, "sh", path, 4, NULL), MJ_ERR_NOT_FOUND);
}

TEST(a_helper_refuses_to_run_by_hand)
{
    mj_helper helper;
    char name[] = "x";
    char *argv[] = {name, NULL};
    CHECK_STATUS(mj_helper_start(1, argv, &helper, NULL), MJ_ERR_ARGUMENT);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--mode=", 7) == 0) {
            return helper_main(argc, argv, argv[i] + 7);
        }
    }
    ssize_t length = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
    self_path[length > 0 ? length : 0] = 0;
    CHECK_BEGIN(argc, argv);
    RUN(messages_go_both_ways);
    RUN(a_crash_says_which_signal);
    RUN(an_exit_says_code_and_last_words);
    RUN(garbage_is_a_format_error);
    RUN(a_torn_message_is_a_death);
    RUN(a_hang_is_a_timeout_and_can_be_killed);
    RUN(a_kill_reaches_the_whole_group);
    RUN(a_helper_dies_with_its_parent);
    RUN(memory_is_limited);
    RUN(a_missing_program_is_named);
    RUN(a_helper_refuses_to_run_by_hand);
    return CHECK_END();
}
