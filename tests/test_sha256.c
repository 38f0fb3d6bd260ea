/* test_sha256.c: the examples of FIPS 180-4's companion (NIST), pieces of every length, and both implementations. */
#include "check.h"
#include "gen.h"

TEST(known_digests)
{
    static const struct {
        const char *text, *digest;
    } rows[] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    char got[MJ_SHA256_HEX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mj_sha256_hex(rows[i].text, strlen(rows[i].text), got);
        CHECK_STRING(got, rows[i].digest);
    }
}

TEST(a_million_letters)
{
    static char letters[1000000];
    char got[MJ_SHA256_HEX];
    memset(letters, 'a', sizeof letters);
    mj_sha256_hex(letters, sizeof letters, got);
    CHECK_STRING(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The plain rounds against whatever this processor has, in one piece and in two. */
TEST(pieces_and_implementations_agree)
{
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 13);
    }
    for (size_t count = 0; count < sizeof bytes; count++) {
        char whole[MJ_SHA256_HEX], pieces[MJ_SHA256_HEX];
        mj_sha256 hash;
        mj_sha256_hex(bytes, count, whole);
        mj_sha256_start(&hash);
        hash.use_instructions = false;
        mj_sha256_update(&hash, bytes, count / 3);
        mj_sha256_update(&hash, bytes + count / 3, count - count / 3);
        mj_sha256_finish(&hash, pieces);
        CHECK_STRING(pieces, whole);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(known_digests);
    RUN(a_million_letters);
    RUN(pieces_and_implementations_agree);
    return CHECK_END();
}
