/* embed_main.c: build tool. `moejit-embed OUT ROOT FOLDER...` writes one C file that holds every data file below
 * ROOT/FOLDER. The output depends on names and contents only, so equal trees give equal bytes. */
#include "files_walk.h"

#include <stdio.h>

static void write_file(FILE *out, size_t index, const mj_data_file *file)
{
    fprintf(out, "static const unsigned char text_%zu[] = { /* %s */", index, file->name);
    for (size_t i = 0; i <= file->bytes; i++) { /* with the NUL */
        fprintf(out, "%s%u,", i % 24 == 0 ? "\n" : "", (unsigned)(unsigned char)file->text[i]);
    }
    fprintf(out, "\n};\n");
}

static void write_table(FILE *out, const mj_data_set *set)
{
    fprintf(out, "/* Written by moejit-embed from the data files; do not edit. */\n#include \"files_embedded.h\"\n\n");
    for (size_t i = 0; i < set->count; i++) {
        write_file(out, i, &set->files[i]);
    }
    fprintf(out, "\nconst mj_embedded_file mj_embedded_files[] = {\n");
    for (size_t i = 0; i < set->count; i++) {
        fprintf(out, "    {\"%s\", (const char *)text_%zu, %zu},\n", set->files[i].name, i, set->files[i].bytes);
    }
    fprintf(out, "    {0, 0, 0},\n};\nconst size_t mj_embedded_file_count = %zu;\n", set->count);
}

int main(int argc, char **argv)
{
    mj_data_set set = {0};
    mj_error error = {0};
    int code = 1;
    if (argc < 4) {
        fprintf(stderr, "usage: %s OUT ROOT FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (mj_data_read(&set, argv[2], argv[i], &error) != MJ_OK) {
            fprintf(stderr, "%s: %s\n", argv[0], error.text);
            goto done;
        }
    }
    FILE *out = fopen(argv[1], "wb");
    if (!out) {
        perror(argv[1]);
        goto done;
    }
    write_table(out, &set);
    code = ferror(out) != 0;
    if (fclose(out) != 0 || code != 0) {
        perror(argv[1]);
        remove(argv[1]);
        code = 1;
    }
done:
    mj_data_free(&set);
    return code;
}
