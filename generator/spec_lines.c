/* spec_lines.c: a light reader of Lua's tokens: enough to walk nested table constructors, no grammar beyond that.
 * It only runs after Lua itself has accepted the text, and only to place an error message. */
#include "spec_lines.h"

#include <ctype.h>
#include <string.h>

typedef enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_NUMBER, TOKEN_MARK } token_kind;

typedef struct lexer {
    const char *at, *end;
    uint32_t line; /* of `at` */
    token_kind kind;
    const char *text; /* of the token; a string's without its quotes */
    size_t length;
    uint32_t token_line;
} lexer;

/* At "[[", "[=[": its level; else -1. */
static int long_bracket_level(const lexer *lx)
{
    const char *p = lx->at + 1;
    while (p < lx->end && *p == '=') {
        p++;
    }
    return p < lx->end && *p == '[' ? (int)(p - lx->at - 1) : -1;
}

static void skip_char(lexer *lx)
{
    lx->line += *lx->at == '\n';
    lx->at++;
}

/* Leaves text/length on the inside. */
static void skip_long_bracket(lexer *lx, int level)
{
    lx->at += level + 2;
    lx->text = lx->at;
    while (lx->at < lx->end) {
        if (*lx->at == ']') {
            const char *p = lx->at + 1;
            int equals = 0;
            while (p < lx->end && *p == '=') {
                p++;
                equals++;
            }
            if (equals == level && p < lx->end && *p == ']') {
                lx->length = (size_t)(lx->at - lx->text);
                lx->at = p + 1;
                return;
            }
        }
        skip_char(lx);
    }
    lx->length = (size_t)(lx->at - lx->text);
}

static void skip_blank(lexer *lx)
{
    while (lx->at < lx->end) {
        if (isspace((unsigned char)*lx->at)) {
            skip_char(lx);
        } else if (lx->end - lx->at >= 2 && lx->at[0] == '-' && lx->at[1] == '-') {
            lx->at += 2;
            int level = lx->at < lx->end && *lx->at == '[' ? long_bracket_level(lx) : -1;
            if (level >= 0) {
                skip_long_bracket(lx, level);
            } else {
                while (lx->at < lx->end && *lx->at != '\n') {
                    lx->at++;
                }
            }
        } else {
            return;
        }
    }
}

static void read_quoted(lexer *lx)
{
    char quote = *lx->at++;
    lx->text = lx->at;
    while (lx->at < lx->end && *lx->at != quote) {
        if (*lx->at == '\\' && lx->at + 1 < lx->end) {
            skip_char(lx);
        }
        skip_char(lx);
    }
    lx->length = (size_t)(lx->at - lx->text);
    lx->at += lx->at < lx->end;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void next_token(lexer *lx)
{
    skip_blank(lx);
    lx->token_line = lx->line;
    lx->text = lx->at;
    lx->length = 0;
    if (lx->at >= lx->end) {
        lx->kind = TOKEN_END;
        return;
    }
    char c = *lx->at;
    int level = c == '[' ? long_bracket_level(lx) : -1;
    if (c == '"' || c == '\'') {
        lx->kind = TOKEN_STRING;
        read_quoted(lx);
    } else if (level >= 0) {
        lx->kind = TOKEN_STRING;
        skip_long_bracket(lx, level);
    } else if (is_word(c)) {
        bool digit = isdigit((unsigned char)c) != 0;
        lx->kind = digit ? TOKEN_NUMBER : TOKEN_NAME;
        while (lx->at < lx->end && (is_word(*lx->at) || (digit && *lx->at == '.'))) {
            lx->at++;
        }
        lx->length = (size_t)(lx->at - lx->text);
    } else {
        static const char pairs[] = "==~=<=>=//::<<>>..";
        bool pair = false;
        for (size_t i = 0; i + 1 < sizeof pairs && lx->end - lx->at >= 2; i += 2) {
            pair = pair || (lx->at[0] == pairs[i] && lx->at[1] == pairs[i + 1]);
        }
        lx->kind = TOKEN_MARK;
        lx->length = pair ? 2 : 1;
        lx->at += lx->length;
    }
}

static bool is_text(const lexer *lx, token_kind kind, const char *text)
{
    return lx->kind == kind && strlen(text) == lx->length && memcmp(lx->text, text, lx->length) == 0;
}

static bool is_mark(const lexer *lx, char mark)
{
    return lx->kind == TOKEN_MARK && lx->length == 1 && *lx->text == mark;
}

/* How the token changes the nesting: brackets, and blocks up to their `end`. */
static int nesting_step(const lexer *lx)
{
    static const struct {
        const char *word;
        int step;
    } words[] = {
        {"function", 1}, {"if", 1}, {"do", 1}, {"repeat", 1}, {"end", -1}, {"until", -1},
    };
    if (lx->kind == TOKEN_MARK && lx->length == 1) {
        return strchr("({[", *lx->text) ? 1 : strchr(")}]", *lx->text) ? -1 : 0;
    }
    for (size_t i = 0; lx->kind == TOKEN_NAME && i < sizeof words / sizeof words[0]; i++) {
        if (is_text(lx, TOKEN_NAME, words[i].word)) {
            return words[i].step;
        }
    }
    return 0;
}

/* To the ',', ';' or '}' that ends an entry of a constructor. */
static void skip_value(lexer *lx)
{
    int depth = 0;
    while (lx->kind != TOKEN_END) {
        if (depth == 0 && (is_mark(lx, ',') || is_mark(lx, ';') || is_mark(lx, '}'))) {
            return;
        }
        depth += nesting_step(lx);
        next_token(lx);
    }
}

static bool key_matches(const lexer *lx, const mj_path_step *step)
{
    return step->key && strlen(step->key) == lx->length && memcmp(step->key, lx->text, lx->length) == 0;
}

/* Reads `name =` or `[key] =` if one is there; leaves the lexer at the value. */
static bool entry_matches(lexer *lx, const mj_path_step *step, uint32_t *position)
{
    bool matches;
    if (lx->kind == TOKEN_NAME) {
        lexer ahead = *lx;
        next_token(&ahead);
        if (is_mark(&ahead, '=')) {
            matches = key_matches(lx, step);
            next_token(&ahead);
            *lx = ahead;
            return matches;
        }
    } else if (is_mark(lx, '[')) {
        next_token(lx);
        matches = lx->kind == TOKEN_STRING && key_matches(lx, step);
        int depth = 0;
        while (lx->kind != TOKEN_END && !(depth == 0 && is_mark(lx, ']'))) {
            depth += nesting_step(lx);
            next_token(lx);
        }
        next_token(lx);
        if (is_mark(lx, '=')) {
            next_token(lx);
        }
        return matches;
    }
    ++*position;
    return !step->key && *position == step->index;
}

static uint32_t find_in_table(lexer *lx, const mj_path_step *steps, uint32_t step_count, uint32_t line)
{
    uint32_t position = 0;
    next_token(lx); /* past '{' */
    while (step_count > 0 && lx->kind != TOKEN_END && !is_mark(lx, '}')) {
        uint32_t entry_line = lx->token_line;
        if (entry_matches(lx, steps, &position)) {
            return is_mark(lx, '{') ? find_in_table(lx, steps + 1, step_count - 1, entry_line) : entry_line;
        }
        skip_value(lx);
        if (!is_mark(lx, '}')) {
            next_token(lx);
        }
    }
    return line;
}

uint32_t mj_lua_line(const char *text, size_t bytes, const mj_path_step *steps, uint32_t step_count)
{
    lexer lx = {.at = text, .end = text + bytes, .line = 1};
    int depth = 0;
    next_token(&lx);
    while (lx.kind != TOKEN_END && !(depth == 0 && is_text(&lx, TOKEN_NAME, "return"))) {
        depth += nesting_step(&lx);
        next_token(&lx);
    }
    if (lx.kind == TOKEN_END) {
        return 1;
    }
    uint32_t line = lx.token_line;
    next_token(&lx);
    return is_mark(&lx, '{') ? find_in_table(&lx, steps, step_count, lx.token_line) : line;
}
