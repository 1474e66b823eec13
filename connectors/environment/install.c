/*
 * Installing runs foreign code: a package from the network may bring a setup.py. So this process locks itself down
 * first. It may read the system, the interpreter, the project and the installer's settings; write to the environment
 * and to a cache that no other connection shares; and use the network. Modes and owners of files, which no sandbox can
 * bound to a folder, it only believes to change: umask gives what is made to us alone, and build.c sets afterwards what
 * must be executable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "connectors/environment/environment.h"
#include "connectors/worker/programs.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/system/spawn.h"

#define DESCRIPTORS 1024

static const char *const settings[] = { "/etc/pip.conf", "/etc/xdg/pip", "/etc/uv", "/etc/mime.types" };

/* Settings may name files: certificates, folders of wheels. What the operator's environment names may be read. */
static void add_named(ProgramPaths *paths)
{
    for (char **entry = environ; *entry; entry++) {
        const char *value = strchr(*entry, '=');
        if (!value || strncmp(*entry, "PATH=", 5) == 0)
            continue;
        for (const char *at = value + 1; *at;) {
            size_t n = strcspn(at, " ,");
            _cleanup_(freep) char *word = xstrndup(at, n);
            if (word[0] == '/' && word[1])
                program_paths_add(paths, word, SANDBOX_READ);
            at += n + (at[n] != '\0');
        }
    }
}

static int lock_down(const InstallOptions *options, Error *error)
{
    ProgramPaths paths = { 0 };
    unsigned own = SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_LINK | SANDBOX_EXECUTE, layers = 0;
    program_paths_add_system(&paths);
    program_paths_add_program(&paths, options->interpreter);
    _cleanup_(freep) char *folder = path_folder(options->interpreter), *prefix = path_folder(folder);
    _cleanup_(freep) char *headers = path_join(prefix, "include");
    program_paths_add(&paths, headers, SANDBOX_READ);
    if (options->uv)
        program_paths_add_program(&paths, options->uv);
    for (size_t i = 0; i < ELEMENTSOF(settings); i++)
        program_paths_add(&paths, settings[i], SANDBOX_READ);
    add_named(&paths);
    program_paths_add(&paths, options->project, SANDBOX_READ);
    program_paths_add(&paths, options->environment, own);
    program_paths_add(&paths, options->cache, own);
    SandboxPolicy policy = { .paths = paths.paths,
                             .path_count = paths.count,
                             .network = SANDBOX_NETWORK_OUTBOUND,
                             .may_execute = true,
                             .descriptors = DESCRIPTORS };
    int r = sandbox_enter(&policy, &layers, error);
    program_paths_clear(&paths);
    return r;
}

/* Runs WORDS (ends with NULL) to its end; its exit status. */
static int run(const char *const *words)
{
    _cleanup_(error_clear) Error error = { 0 };
    const int descriptors[] = { -1, STDOUT_FILENO, STDERR_FILENO };
    const SpawnOptions options = { .path = words[0],
                                   .argv = words,
                                   .environment = (const char *const *)environ,
                                   .descriptors = descriptors,
                                   .descriptor_count = ELEMENTSOF(descriptors),
                                   .cgroup = -1,
                                   .same_group = true };
    Process process;
    if (spawn(&options, &process, &error) < 0) {
        fprintf(stderr, "ERROR: %s\n", error.message);
        return 1;
    }
    siginfo_t end = { 0 };
    while (waitid(P_PIDFD, (id_t)process.pidfd, &end, WEXITED) < 0) {
    }
    close_fd(process.pidfd);
    if (end.si_code == CLD_EXITED)
        return end.si_status;
    fprintf(stderr, "ERROR: \"%s\" was ended by signal %d\n", words[0], end.si_status);
    return 1;
}

static int install_with_uv(const InstallOptions *options, const char *python)
{
    const char *words[] = { options->uv,
                            "pip",
                            "install",
                            "--python",
                            python,
                            "--compile-bytecode",
                            "--no-progress",
                            "--color",
                            "never",
                            "-r",
                            options->requirements,
                            options->requests ? "requests" : NULL,
                            NULL };
    return run(words);
}

static int install_with_pip(const InstallOptions *options, const char *python)
{
    const char *words[16];
    size_t n = 0;
    words[n++] = options->ensurepip ? python : options->interpreter;
    words[n++] = "-m";
    words[n++] = "pip";
    if (!options->ensurepip) {
        words[n++] = "--python";
        words[n++] = python;
    }
    words[n++] = "install";
    words[n++] = "--no-input";
    words[n++] = "--no-color";
    words[n++] = "--progress-bar=off";
    words[n++] = "-r";
    words[n++] = options->requirements;
    if (options->requests)
        words[n++] = "requests";
    words[n] = NULL;
    return run(words);
}

int environment_install(const InstallOptions *options)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(freep) char *python = path_join(options->environment, "bin/python");
    if (chdir(options->project) < 0 || lock_down(options, &error) < 0) {
        fprintf(stderr, "ERROR: the sandbox cannot be entered: %s\n", error.message ? error.message : "no project");
        return 1;
    }
    const char *const venv[] = { options->interpreter, "-I", "-m", "venv", "--without-pip", "--symlinks",
                                 options->environment, NULL };
    const char *const ensurepip[] = { python, "-I", "-m", "ensurepip", "--default-pip", NULL };
    int status = run(venv);
    if (status == 0 && !options->uv && options->ensurepip)
        status = run(ensurepip);
    if (status != 0)
        return status;
    return options->uv ? install_with_uv(options, python) : install_with_pip(options, python);
}
