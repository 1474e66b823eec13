/*
 * What a program in the sandbox is, and what an honest one needs: threads, memory, SQLite, hashes, character sets.
 */
#include <dirent.h>
#include <fcntl.h>
#include <iconv.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"
#include "tests/integration/sandbox-attempts.h"

/* --- what it is --- */

ATTEMPT(no_new_privs)
{
    snprintf(ret, size, "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    return 0;
}
ATTEMPT(dumpable)
{
    snprintf(ret, size, "%d", prctl(PR_GET_DUMPABLE));
    return 0;
}
ATTEMPT(environment)
{
    extern char **environ;
    size_t length = 0;
    ret[0] = '\0';
    for (char **variable = environ; *variable && length < size; variable++)
        length += (size_t)snprintf(ret + length, size - length, "%s%s", length ? " " : "", *variable);
    return 0;
}
ATTEMPT(descriptors)
{
    size_t length = 0;
    for (int fd = 0; fd < 1024 && length < size; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            length += (size_t)snprintf(ret + length, size - length, "%s%d", length ? " " : "", fd);
    }
    return 0;
}
ATTEMPT(capabilities)
{
    struct {
        uint32_t version;
        int pid;
    } header = { 0x20080522, 0 };
    uint32_t sets[6] = { 0 };
    if (syscall(SYS_capget, &header, sets) < 0)
        return errno;
    snprintf(ret, size, "%08x%08x", sets[3], sets[0]);
    return 0;
}
ATTEMPT(limits)
{
    struct rlimit core, files, data;
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_DATA, &data);
    snprintf(ret, size, "core=%ld files=%ld data=%ld", (long)core.rlim_max, (long)files.rlim_max, (long)data.rlim_max);
    return 0;
}
ATTEMPT(leads_group)
{
    return getpgrp() == getpid() ? 0 : ESRCH;
}
/* --- what must go on working --- */

static int thread_count;

static void *thread_main(void *userdata)
{
    char *memory = malloc(1 << 20);
    memset(memory, 1, 1 << 20);
    free(memory);
    __atomic_add_fetch(&thread_count, 1, __ATOMIC_RELAXED);
    return NULL;
}
ATTEMPT(works_threads)
{
    pthread_t threads[4];
    for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
        int r = pthread_create(&threads[i], NULL, thread_main, NULL);
        if (r != 0)
            return r;
    }
    for (size_t i = 0; i < ELEMENTSOF(threads); i++)
        pthread_join(threads[i], NULL);
    return thread_count == 4 ? 0 : EINTR;
}
ATTEMPT(works_memory)
{
    for (size_t n = 16; n < (32 << 20); n *= 2) {
        char *memory = malloc(n);
        if (!memory)
            return ENOMEM;
        memory[n - 1] = 1;
        memory = realloc(memory, n * 2);
        free(memory);
    }
    return 0;
}
ATTEMPT(works_stdio)
{
    FILE *file = fopen(joined(target->inside, "file"), "re");
    if (!file)
        return errno;
    char line[64];
    const char *read_back = fgets(line, sizeof line, file);
    fclose(file);
    DIR *dir = opendir(target->inside);
    if (!dir)
        return errno;
    const struct dirent *entry = readdir(dir);
    closedir(dir);
    return read_back && entry ? 0 : EIO;
}
ATTEMPT(works_sqlite)
{
    sqlite3 *database = NULL;
    char *message = NULL;
    int r = sqlite3_open(joined(target->inside, "works.db"), &database);
    if (r == SQLITE_OK)
        r = sqlite3_exec(
            database,
            "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);"
            "INSERT INTO t SELECT value, hex(randomblob(100)) FROM json_each('[' || "
            "rtrim(replace(hex(zeroblob(20000)), '00', 'null,'), ',') || ']');"
            "PRAGMA journal_mode = TRUNCATE; CREATE INDEX i ON t (b); DELETE FROM t; VACUUM",
            NULL, NULL, &message);
    if (r != SQLITE_OK)
        snprintf(ret, size, "%s", message ? message : sqlite3_errmsg(database));
    sqlite3_free(message);
    sqlite3_close(database);
    return 0;
}
ATTEMPT(works_hash)
{
    Sha256 *hash = sha256_new();
    uint8_t digest[SHA256_SIZE];
    sha256_update(hash, "abc", 3);
    sha256_finish(hash, digest);
    sha256_free(hash);
    return digest[0] == 0xba && digest[31] == 0xad ? 0 : EIO;
}
ATTEMPT(works_iconv)
{
    static const char *const charsets[] = { "WINDOWS-1252", "SHIFT_JIS", "GB18030", "ISO-2022-JP" };
    for (size_t i = 0; i < ELEMENTSOF(charsets); i++) {
        iconv_t descriptor = iconv_open("UTF-8", charsets[i]);
        if (descriptor == (iconv_t)-1)
            return errno;
        iconv_close(descriptor);
    }
    return 0;
}
ATTEMPT(works_time)
{
    time_t now = time(NULL);
    struct tm broken;
    localtime_r(&now, &broken);
    struct timespec pause = { 0, 1000 };
    return result(nanosleep(&pause, NULL));
}
ATTEMPT(works_random)
{
    char bytes[16];
    return getentropy(bytes, sizeof bytes) < 0 ? errno : 0;
}
ATTEMPT(works_socketpair)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return errno;
    char byte;
    if (send(fds[0], "x", 1, MSG_NOSIGNAL) != 1 || recv(fds[1], &byte, 1, 0) != 1)
        return errno;
    struct pollfd poller = { .fd = fds[0], .events = POLLOUT };
    return poll(&poller, 1, 1000) == 1 ? 0 : ETIMEDOUT;
}
ATTEMPT(works_abort)
{
    signal(SIGABRT, SIG_IGN);
    return result(raise(SIGABRT));
}
ATTEMPT(works_dev_null)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int r = isatty(fd) ? EINVAL : result(write(fd, "x", 1));
    close(fd);
    return r;
}
ATTEMPT(works_fchmod)
{
    int fd = open(joined(target->inside, "file"), O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int r = result(fchmod(fd, 0640));
    close(fd);
    return r;
}
ATTEMPT(works_own_limit)
{
    struct rlimit limits = { 0 };
    if (getrlimit(RLIMIT_NOFILE, &limits) < 0)
        return errno;
    limits.rlim_cur--;
    return result(setrlimit(RLIMIT_NOFILE, &limits));
}
ATTEMPT(works_lookup)
{
    int fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC);
    return opened(fd);
}

const Attempt honest_attempts[] = {
    /* what it is comes first, before the others leave descriptors behind */
    LISTED(no_new_privs),    LISTED(dumpable),
    LISTED(environment),     LISTED(descriptors),
    LISTED(capabilities),    LISTED(limits),
    LISTED(leads_group),     LISTED(works_threads),
    LISTED(works_memory),    LISTED(works_stdio),
    LISTED(works_sqlite),    LISTED(works_hash),
    LISTED(works_iconv),     LISTED(works_time),
    LISTED(works_random),    LISTED(works_socketpair),
    LISTED(works_abort),     LISTED(works_dev_null),
    LISTED(works_fchmod),    LISTED(works_lookup),
    LISTED(works_own_limit), { NULL },
};
