/* Other programs that a hostile one tries to become or to start. */
#include "tests/integration/sandbox-attempts.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The effective user id that a set-user-id program gets. */
ATTEMPT(setuid_program)
{
    int fds[2];
    if (pipe(fds) < 0)
        return errno;
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        dup2(fds[1], 1);
        execl(target->setuid, "id", "-u", NULL);
        _exit(errno);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], ret, size - 1);
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    ret[n > 0 ? n - 1 : 0] = '\0';
    return 0;
}

ATTEMPT(execute_memory_file)
{
    int fd = (int)syscall(SYS_memfd_create, "program", 0);
    if (fd < 0)
        return errno;
    if (write(fd, "#!/bin/true\n", 12) < 0)
        return errno;
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH));
}

ATTEMPT(execve)
{
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(execve("/bin/true", argv, environment));
}

ATTEMPT(execveat)
{
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, environment, 0));
}

const Attempt program_attempts[] = {
    LISTED(execute_memory_file), LISTED(setuid_program), LISTED(execve), LISTED(execveat), { NULL },
};
