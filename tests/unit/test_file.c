/* Writing that is whole, through a pipe that is full and signals that interrupt, and folders made durable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/basics/file.h"

enum { BYTES = 1 << 20 };

static volatile sig_atomic_t interruptions;

static void interrupted(int signal)
{
    interruptions++;
}

typedef struct Reader {
    int fd;
    pthread_t writer;
    unsigned char *data;
    size_t n;
} Reader;

/*
 * Before each read the writer, whose pipe is full, is interrupted: its write() ends early, or with EINTR. One signal at
 * a time: a timer that is faster than the handler, as it is under valgrind, would leave the writer no time to write.
 */
static void *read_slowly(void *context)
{
    Reader *reader = context;
    for (ssize_t n = 1; n > 0; reader->n += n > 0 ? (size_t)n : 0) {
        for (int i = 0; i < 2; i++) {
            sig_atomic_t before = interruptions;
            pthread_kill(reader->writer, SIGUSR1);
            while (interruptions == before)
                usleep(20);
            usleep(20); /* in write() again */
        }
        n = read(reader->fd, reader->data + reader->n, 10000);
    }
    return NULL;
}

static void test_all_is_written(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    _cleanup_(freep) unsigned char *data = xmalloc(BYTES), *got = xmalloc(BYTES + 10000);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    struct sigaction action = { .sa_handler = interrupted }; /* without SA_RESTART */
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    Reader reader = { .fd = ends[0], .writer = pthread_self(), .data = got };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    int r = file_write_all(ends[1], data, BYTES);
    close(ends[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(ends[0]);
    assert_int_equal(r, 0);
    assert_int_equal(reader.n, BYTES);
    assert_memory_equal(got, data, BYTES);
}

static void test_errors_are_left_in_errno(void **state)
{
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(file_write_all(ends[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(file_write_all(ends[1], "", 0), 0);
    close(ends[1]);
    assert_int_equal(file_sync_folder_of("/nowhere/at/all"), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_folder_is_synced(void **state)
{
    assert_int_equal(file_sync_folder_of("/tmp/any"), 0);
    assert_int_equal(file_sync_folder_of("/proc/any"), 0); /* which cannot be: EINVAL */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_written),
        cmocka_unit_test(test_errors_are_left_in_errno),
        cmocka_unit_test(test_folder_is_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
