/*
 * build-environment: a virtual environment for a connector's project. It prints what it does on stderr and, last, one
 * JSON object on stdout: {"environment", "python", "version", "cached"} or {"error", "configuration"}.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "connectors/environment/environment.h"
#include "lib/basics/buffer.h"
#include "lib/system/sandbox.h"

#define KEEP_MAX 1000

static BuildOptions arg_build;
static InstallOptions arg_install;
static bool arg_installs;
static const char *arg_keep[KEEP_MAX + 1];
static size_t arg_keep_count;

static const struct option options[] = { { "folder", required_argument, NULL, 'f' },
                                         { "project", required_argument, NULL, 'p' },
                                         { "python", required_argument, NULL, 'y' },
                                         { "keep", required_argument, NULL, 'k' },
                                         { "install", no_argument, NULL, 'i' },
                                         { "environment", required_argument, NULL, 'e' },
                                         { "cache", required_argument, NULL, 'c' },
                                         { "requirements", required_argument, NULL, 'r' },
                                         { "interpreter", required_argument, NULL, 't' },
                                         { "uv", required_argument, NULL, 'u' },
                                         { "ensurepip", no_argument, NULL, 'n' },
                                         { "requests", no_argument, NULL, 'q' },
                                         {} };

static bool take_option(int option)
{
    switch (option) {
    case 'f':
        arg_build.folder = optarg;
        return true;
    case 'p':
        arg_build.project = arg_install.project = optarg;
        return true;
    case 'y':
        arg_build.python = optarg;
        return true;
    case 'k':
        if (arg_keep_count < KEEP_MAX)
            arg_keep[arg_keep_count++] = optarg;
        return true;
    case 'i':
        arg_installs = true;
        return true;
    case 'e':
        arg_install.environment = optarg;
        return true;
    case 'c':
        arg_install.cache = optarg;
        return true;
    case 'r':
        arg_install.requirements = optarg;
        return true;
    case 't':
        arg_install.interpreter = optarg;
        return true;
    case 'u':
        arg_install.uv = optarg;
        return true;
    case 'n':
        arg_install.ensurepip = true;
        return true;
    case 'q':
        arg_install.requests = true;
        return true;
    default:
        return false;
    }
}

static bool parse(int argc, char *argv[])
{
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) >= 0;)
        if (!take_option(option))
            return false;
    if (arg_installs)
        return arg_install.environment && arg_install.cache && arg_install.project && arg_install.requirements &&
               arg_install.interpreter;
    return arg_build.folder && arg_build.folder[0] == '/' && arg_build.project && arg_build.project[0] == '/';
}

/* Ours as it was started; the sandbox clears it. */
static char **copy_environment(void)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **copy = xcalloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(environ[i]);
    return copy;
}

static int report(const Built *built, const Error *error)
{
    json_t *result;
    if (built) {
        result = json_pack("{s:s, s:s, s:s, s:b}", "environment", built->folder, "python", built->python, "version",
                           built->version, "cached", built->cached);
    } else {
        _cleanup_(freep) char *text = error_format(error);
        result = json_pack("{s:s, s:b}", "error", text, "configuration", error->kind == ERROR_CONFIGURATION);
    }
    json_dumpf(result, stdout, JSON_COMPACT);
    json_decref(result);
    return fputc('\n', stdout) == EOF || fflush(stdout) != 0 || !built;
}

int main(int argc, char *argv[])
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(built_clear) Built built = { 0 };
    if (!parse(argc, argv)) {
        fputs("usage: build-environment --folder DIR --project DIR [--python VERSION] [--keep ENVIRONMENT]…\n", stderr);
        return 2;
    }
    if (arg_installs)
        return environment_install(&arg_install);
    arg_build.keep = arg_keep;
    arg_build.environment = copy_environment();
    setvbuf(stderr, NULL, _IOLBF, 0);
    if (sandbox_early(STDERR_FILENO + 1, &error) < 0 || environment_build(&arg_build, &built, &error) < 0)
        return report(NULL, &error);
    return report(&built, NULL);
}
