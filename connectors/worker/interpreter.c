/*
 * Interpreters are looked for by name, python3.14 down to python3.10, on the path and where installers put them (pyenv,
 * uv, /opt). What a name promises is then asked of the program itself: pyenv's shims, for one, are called like an
 * interpreter and may be none. The answer also tells whether it can install packages.
 */
#include "connectors/worker/interpreter.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"
#include "lib/system/spawn.h"

#define PROBE_MS 20000
#define ANSWER_MAX 8192
#define SYSTEM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* A virtual environment's interpreter answers with the one that it was made from. */
static const char question[] = "import sys, os, importlib.util as u, importlib.metadata as m\n"
                               "def pip():\n"
                               "    try: return [int(n) for n in m.version('pip').split('.')[:2]] >= [22, 3]\n"
                               "    except Exception: return False\n"
                               "print('%d.%d.%d' % sys.version_info[:3])\n"
                               "print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))\n"
                               "print(os.path.realpath(sys.base_prefix))\n"
                               "print(int(pip()), int(u.find_spec('ensurepip') is not None))\n";

/* Where interpreters are besides the path; %d is the minor version, "~" the home. */
static const char *const places[] = {
    "/usr/local/bin/python3.%d",
    "/usr/bin/python3.%d",
    "/opt/python3.%d*/bin/python3.%d",
    "/opt/python/3.%d*/bin/python3.%d",
    "/usr/local/python3.%d*/bin/python3.%d",
    "/opt/pyenv/versions/3.%d.*/bin/python3.%d",
    "~/.pyenv/versions/3.%d.*/bin/python3.%d",
    "~/.local/share/uv/python/cpython-3.%d.*/bin/python3.%d",
    "~/.local/bin/python3.%d",
};

void interpreter_clear(Interpreter *interpreter)
{
    free(interpreter->path);
    free(interpreter->prefix);
    free(interpreter->version);
    *interpreter = (Interpreter){ 0 };
}

/* --- asking one --- */

/* What PROGRAM prints, at most ANSWER_MAX bytes of it; NULL where it fails or takes too long. */
static char *ask(const char *program)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return NULL;
    _cleanup_(close_fdp) int output = ends[0];
    const int descriptors[] = { -1, ends[1], -1 };
    const char *const argv[] = { program, "-I", "-c", question, NULL };
    const SpawnOptions options = {
        .path = program, .argv = argv, .descriptors = descriptors, .descriptor_count = 3, .cgroup = -1
    };
    Process process;
    int r = spawn(&options, &process, NULL);
    close_fd(ends[1]);
    if (r < 0)
        return NULL;
    _cleanup_(buffer_clear) Buffer answer = { 0 };
    int64_t deadline = clock_monotonic_ms() + PROBE_MS;
    bool good = false;
    while (buffer_length(&answer) < ANSWER_MAX) {
        struct pollfd polled = { .fd = output, .events = POLLIN };
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || (poll(&polled, 1, (int)left) < 0 && errno != EINTR))
            break;
        ssize_t n = polled.revents ? read(output, buffer_reserve(&answer, 1024), 1024) : -1;
        good = n == 0;
        if (n == 0)
            break;
        if (n > 0)
            buffer_added(&answer, (size_t)n);
    }
    if (!good)
        kill(-process.pid, SIGKILL);
    int status = 0;
    while (waitpid(process.pid, &status, 0) < 0 && errno == EINTR) {
    }
    close_fd(process.pidfd);
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? buffer_take_string(&answer) : NULL;
}

static int minor_of(const char *version)
{
    return strncmp(version, "3.", 2) == 0 ? atoi(version + 2) : -1;
}

static bool is_served(const char *version)
{
    int minor = minor_of(version);
    return minor >= PYTHON_MINOR_MIN && minor <= PYTHON_MINOR_MAX;
}

/* Whether PROGRAM is a Python, and which. */
static bool probe(const char *program, Interpreter *ret)
{
    if (access(program, X_OK) < 0)
        return false;
    _cleanup_(freep) char *answer = ask(program);
    char *lines[4], *rest = answer;
    for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
        lines[i] = rest ? strsep(&rest, "\n") : NULL;
        if (!lines[i])
            return false;
    }
    if (minor_of(lines[0]) < 0 || lines[1][0] != '/' || lines[2][0] != '/' || strlen(lines[3]) != 3)
        return false;
    *ret = (Interpreter){ .version = xstrdup(lines[0]),
                          .path = xstrdup(lines[1]),
                          .prefix = xstrdup(lines[2]),
                          .has_pip = lines[3][0] == '1',
                          .has_ensurepip = lines[3][2] == '1' };
    return true;
}

/* --- finding one --- */

typedef struct Search {
    const char *path, *home;
    Buffer found; /* for the message: "3.11.2 (/usr/bin/python3.11)" */
} Search;

static void remember(Search *search, const Interpreter *interpreter)
{
    _cleanup_(freep) char *text = xasprintf("%s (%s)", interpreter->version, interpreter->path);
    *buffer_reserve(&search->found, 1) = '\0';
    if (buffer_length(&search->found) > 0 && strstr((const char *)buffer_bytes(&search->found), text))
        return;
    buffer_printf(&search->found, "%s%s", buffer_length(&search->found) > 0 ? ", " : "", text);
}

/* PROGRAM, if it is a Python of MINOR (-1: any that is served). */
static bool accept(Search *search, const char *program, int minor, Interpreter *ret)
{
    Interpreter interpreter;
    if (!probe(program, &interpreter))
        return false;
    if (minor < 0 ? is_served(interpreter.version) : minor_of(interpreter.version) == minor) {
        *ret = interpreter;
        return true;
    }
    remember(search, &interpreter);
    interpreter_clear(&interpreter);
    return false;
}

static bool on_path(Search *search, const char *name, int minor, Interpreter *ret)
{
    for (const char *at = search->path; *at;) {
        size_t n = strcspn(at, ":");
        _cleanup_(freep) char *program = xasprintf("%.*s/%s", (int)n, at, name);
        if (program[0] == '/' && accept(search, program, minor, ret))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

static char *expand(const Search *search, const char *place, int minor)
{
    Buffer text = { 0 };
    for (const char *c = place; *c; c++) {
        if (*c == '~')
            buffer_append_string(&text, search->home);
        else if (strncmp(c, "%d", 2) == 0)
            buffer_printf(&text, "%d", minor), c++;
        else
            buffer_append(&text, c, 1);
    }
    return buffer_take_string(&text);
}

static bool in_places(Search *search, int minor, Interpreter *ret)
{
    bool found = false;
    for (size_t i = 0; !found && i < ELEMENTSOF(places); i++) {
        if (places[i][0] == '~' && !search->home)
            continue;
        _cleanup_(freep) char *pattern = expand(search, places[i], minor);
        glob_t files = { 0 };
        if (glob(pattern, 0, NULL, &files) == 0)
            for (size_t k = files.gl_pathc; !found && k > 0; k--) /* the newest of several */
                found = accept(search, files.gl_pathv[k - 1], minor, ret);
        globfree(&files);
    }
    return found;
}

static bool find_minor(Search *search, int minor, Interpreter *ret)
{
    char name[32];
    snprintf(name, sizeof(name), "python3.%d", minor);
    return on_path(search, name, minor, ret) || in_places(search, minor, ret) || on_path(search, "python3", minor, ret);
}

static bool find_any(Search *search, Interpreter *ret)
{
    if (on_path(search, "python3", -1, ret))
        return true;
    for (int minor = PYTHON_MINOR_MAX; minor >= PYTHON_MINOR_MIN; minor--)
        if (find_minor(search, minor, ret))
            return true;
    return false;
}

/* Everything else there is, for the message. */
static const char *list_found(Search *search)
{
    Interpreter other;
    for (int minor = PYTHON_MINOR_MAX; minor >= PYTHON_MINOR_MIN; minor--)
        if (find_minor(search, minor, &other)) {
            remember(search, &other);
            interpreter_clear(&other);
        }
    *buffer_reserve(&search->found, 1) = '\0';
    return buffer_length(&search->found) > 0 ? (const char *)buffer_bytes(&search->found) : "none";
}

static int find_path(Search *search, const char *path, Interpreter *ret, Error *error)
{
    Interpreter interpreter;
    _cleanup_(freep) char *printable = text_escape_shortened(path, strlen(path), 200);
    if (access(path, X_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the interpreter \"%s\" cannot be run", printable);
    if (!probe(path, &interpreter))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is no Python interpreter", printable);
    if (is_served(interpreter.version)) {
        *ret = interpreter;
        return 0;
    }
    error_set(error, ERROR_CONFIGURATION, "\"%s\" is Python %s; 3.%d to 3.%d are served", printable,
              interpreter.version, PYTHON_MINOR_MIN, PYTHON_MINOR_MAX);
    interpreter_clear(&interpreter);
    return -1;
}

/* The minor version that "3.12" (or "3.12.4") asks for; -1: it is no version. */
static int wanted_minor(const char *wanted)
{
    size_t digits = strspn(wanted, "0123456789.");
    if (wanted[digits] || strncmp(wanted, "3.", 2) != 0 || wanted[2] < '0' || wanted[2] > '9')
        return -1;
    return atoi(wanted + 2);
}

int interpreter_find(const char *wanted, const char *search_path, const char *home, Interpreter *ret, Error *error)
{
    Search search = { .path = search_path && *search_path ? search_path : SYSTEM_PATH,
                      .home = home && home[0] == '/' ? home : NULL };
    int r = 0;
    if (wanted && wanted[0] == '/')
        return find_path(&search, wanted, ret, error);
    int minor = wanted ? wanted_minor(wanted) : -1;
    if (wanted && (minor < PYTHON_MINOR_MIN || minor > PYTHON_MINOR_MAX)) {
        _cleanup_(freep) char *printable = text_escape_shortened(wanted, strlen(wanted), 80);
        r = error_set(error, ERROR_CONFIGURATION,
                      "\"python: %s\" is not served: name a version from 3.%d to 3.%d, or the path of an interpreter",
                      printable, PYTHON_MINOR_MIN, PYTHON_MINOR_MAX);
    } else if (wanted && !find_minor(&search, minor, ret)) {
        r = error_set(error, ERROR_CONFIGURATION,
                      "there is no Python 3.%d on this machine; there are: %s; install python3.%d, or ask for another "
                      "version",
                      minor, list_found(&search), minor);
    } else if (!wanted && !find_any(&search, ret)) {
        r = error_set(error, ERROR_CONFIGURATION,
                      "there is no Python from 3.%d to 3.%d on this machine; there are: %s; install python3",
                      PYTHON_MINOR_MIN, PYTHON_MINOR_MAX, list_found(&search));
    }
    buffer_clear(&search.found);
    return r;
}
