/* hiprtc_targets.c: see hiprtc_targets.h. */
#include "hiprtc_targets.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "os.h"

/* What earlier runs found out about this compiler; an empty list for any reason. */
static mj_json *read_known(const char *path, const char *identity)
{
    char compiler[96];
    mj_json *root = NULL;
    if (!path[0] || mj_json_parse_file(path, &root, NULL) != MJ_OK ||
        mj_json_read_string(root, "compiler", compiler, sizeof compiler, NULL) != MJ_OK ||
        strcmp(compiler, identity) != 0 || !mj_json_is_object(mj_json_get(root, "targets"))) {
        mj_json_free(root);
        root = mj_json_object();
        mj_json_add_string(root, "compiler", identity);
        mj_json_add(root, "targets", mj_json_object());
    }
    return root;
}

/* One that cannot be kept costs a second now and then. */
static void keep(const char *folder, const char *path, const mj_json *root)
{
    char *text = path[0] ? mj_json_print(root, true) : NULL;
    if (text && mj_os_make_folder(folder, NULL) == MJ_OK) {
        mj_os_write_file_atomic(path, text, strlen(text), 0600, NULL);
    }
    free(text);
}

mj_status mj_hiprtc_targets(const char *folder, const mj_hiprtc *hiprtc, const char *const *targets, uint32_t count,
                            bool *can, mj_error *error)
{
    char path[4096] = "";
    mj_status status = MJ_OK;
    bool is_new = false;
    if (folder[0] && mj_os_join(path, sizeof path, folder, "hiprtc-targets.json", NULL) != MJ_OK) {
        path[0] = '\0';
    }
    mj_json *root = read_known(path, mj_hiprtc_identity(hiprtc));
    mj_json *known = mj_json_get(root, "targets");
    if (!known) {
        mj_json_free(root);
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a compiler's targets");
    }
    for (uint32_t i = 0; status == MJ_OK && i < count; i++) {
        if (mj_json_read_bool(known, targets[i], &can[i], NULL) == MJ_OK) {
            continue;
        }
        status = mj_hiprtc_try_target(hiprtc, targets[i], error);
        can[i] = status == MJ_OK;
        status = status == MJ_ERR_UNSUPPORTED ? MJ_OK : status;
        is_new |= status == MJ_OK && mj_json_add_bool(known, targets[i], can[i]);
    }
    if (is_new) {
        keep(folder, path, root);
    }
    mj_json_free(root);
    return status;
}
