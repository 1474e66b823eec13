/*
 * A CREATE TABLE statement with other types in it. SQLite keeps the statement that made a table as it was written, and
 * has no other way to change a type than to write it anew (https://sqlite.org/lang_altertable.html, 8). So it is taken
 * apart just far enough to find each column's type; whatever else stands there (constraints, defaults, collations,
 * comments) stays to the letter.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "connectors/destinations/sqlite/declaration.h"
#include "lib/basics/buffer.h"

#define STATEMENT_START "CREATE TABLE " /* SQLite writes this part itself: the name follows */

typedef enum TokenType {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_QUOTED,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_OTHER
} TokenType;

typedef struct Token {
    TokenType type;
    const char *start, *end;
} Token;

static const char *skip_blank(const char *at)
{
    for (;;) {
        at += strspn(at, " \t\n\f\r");
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            at = end ? end + 2 : at + strlen(at);
        } else {
            return at;
        }
    }
}

/* Past the closing quote; a doubled one stands for itself. */
static const char *skip_quoted(const char *at)
{
    char quote = *at == '[' ? ']' : *at;
    for (at++; *at; at++) {
        if (*at != quote)
            continue;
        if (quote == ']' || at[1] != quote)
            return at + 1;
        at++;
    }
    return at;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           (unsigned char)c >= 0x80;
}

static Token next_token(const char *at)
{
    Token token = { .start = skip_blank(at) };
    const char *c = token.start;
    if (*c == '\0') {
        token.end = c;
    } else if (*c == '"' || *c == '\'' || *c == '`' || *c == '[') {
        token.type = TOKEN_QUOTED;
        token.end = skip_quoted(c);
    } else if (is_word(*c)) {
        token.type = TOKEN_WORD;
        while (is_word(*c))
            c++;
        token.end = c;
    } else {
        token.type = *c == '(' ? TOKEN_OPEN : *c == ')' ? TOKEN_CLOSE : *c == ',' ? TOKEN_COMMA : TOKEN_OTHER;
        token.end = c + 1;
    }
    return token;
}

static bool token_is_one_of(const Token *token, const char *const *words)
{
    size_t n = (size_t)(token->end - token->start);
    for (; token->type == TOKEN_WORD && *words; words++)
        if (strlen(*words) == n && strncasecmp(token->start, *words, n) == 0)
            return true;
    return false;
}

/* From the token after an opening parenthesis to past the one that closes it. */
static const char *skip_parenthesis(const char *at)
{
    for (unsigned depth = 1; depth > 0;) {
        Token token = next_token(at);
        if (token.type == TOKEN_END)
            return token.end;
        depth += token.type == TOKEN_OPEN;
        depth -= token.type == TOKEN_CLOSE;
        at = token.end;
    }
    return at;
}

/* Past the type that begins at AT, where there is one: words, and numbers in parentheses. */
static const char *skip_type(const char *at)
{
    static const char *const constraints[] = { "CONSTRAINT", "PRIMARY", "NOT",        "NULL",      "UNIQUE", "CHECK",
                                               "DEFAULT",    "COLLATE", "REFERENCES", "GENERATED", "AS",     NULL };
    const char *end = at;
    for (;;) {
        Token token = next_token(end);
        if ((token.type == TOKEN_WORD && !token_is_one_of(&token, constraints)) || token.type == TOKEN_QUOTED)
            end = token.end;
        else
            return token.type == TOKEN_OPEN && end != at ? skip_parenthesis(token.end) : end;
    }
}

/* To the comma or the parenthesis that ends a column's definition. */
static Token skip_constraints(const char *at)
{
    for (;;) {
        Token token = next_token(at);
        if (token.type == TOKEN_END || token.type == TOKEN_COMMA || token.type == TOKEN_CLOSE)
            return token;
        at = token.type == TOKEN_OPEN ? skip_parenthesis(token.end) : token.end;
    }
}

/* The columns, from past the opening parenthesis; what was copied to RET goes up to *AT. */
static bool edit_columns(const char **at, const char *const *declared, size_t count, Buffer *ret)
{
    static const char *const constraints[] = { "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", NULL };
    const char *next = *at;
    for (size_t i = 0;; i++) {
        Token name = next_token(next);
        if (i == count)
            return token_is_one_of(&name, constraints) || next[-1] == ')';
        if ((name.type != TOKEN_WORD && name.type != TOKEN_QUOTED) || token_is_one_of(&name, constraints))
            return false;
        const char *end = skip_type(name.end);
        if (declared[i]) {
            buffer_append(ret, *at, (size_t)(name.end - *at));
            buffer_append_string(ret, " ");
            buffer_append_string(ret, declared[i]);
            *at = end;
        }
        Token last = skip_constraints(end);
        if (last.type == TOKEN_END || (last.type == TOKEN_CLOSE && i + 1 != count))
            return false;
        next = last.end;
    }
}

char *declaration_edit(const char *sql, const char *name, const char *const *declared, size_t count)
{
    _cleanup_(buffer_clear) Buffer edited = { 0 };
    if (strncmp(sql, STATEMENT_START, strlen(STATEMENT_START)) != 0)
        return NULL;
    Token own = next_token(sql + strlen(STATEMENT_START)), open = next_token(own.end);
    if ((own.type != TOKEN_WORD && own.type != TOKEN_QUOTED) || open.type != TOKEN_OPEN)
        return NULL;
    const char *at = name ? own.end : sql;
    if (name) {
        buffer_append_string(&edited, STATEMENT_START);
        buffer_append_string(&edited, name);
    }
    buffer_append(&edited, at, (size_t)(open.end - at));
    at = open.end;
    if (!edit_columns(&at, declared, count, &edited))
        return NULL;
    buffer_append_string(&edited, at);
    return buffer_take_string(&edited);
}
