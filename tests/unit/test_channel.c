/* Frames over real descriptors: split anywhere, larger than the pipe, and ends of every kind. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/system/channel.h"

static void log_frame(Buffer *buffer, const char *text, uint32_t length)
{
    Frame frame = { .type = FRAME_LOG, .log = { .priority = 6, .message = { text, length } } };
    frame_encode(buffer, &frame);
}

static void frames_arrive_byte_by_byte(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    Buffer bytes = { 0 };
    log_frame(&bytes, "one", 3);
    log_frame(&bytes, "two", 3);
    Channel channel;
    channel_init(&channel, fds[0], FRAME_CONTROL_MAX);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    Error error = { 0 };
    int frames = 0;
    assert_int_equal(channel_fill(&channel, &error), CHANNEL_E_NOTHING);
    for (size_t i = bytes.begin; i < bytes.end; i++) {
        assert_int_equal(write(fds[1], bytes.data + i, 1), 1);
        assert_int_equal(channel_fill(&channel, &error), 0);
        Frame frame;
        while (frame_reader_next(&channel.reader, &frame, &error) == 0) {
            assert_int_equal(frame.type, FRAME_LOG);
            assert_memory_equal(frame.log.message.data, frames++ == 0 ? "one" : "two", 3);
        }
    }
    assert_int_equal(frames, 2);
    close(fds[1]);
    assert_int_equal(channel_fill(&channel, &error), CHANNEL_E_END);
    channel_clear(&channel);
    buffer_clear(&bytes);
    close(fds[0]);
}

#define LARGE (8 << 20)

static void *send_large(void *userdata)
{
    Channel *channel = userdata;
    char *text = xmalloc(LARGE);
    memset(text, 'x', LARGE);
    Frame frame = { .type = FRAME_LOG, .log = { .priority = 6, .message = { text, LARGE } } };
    int r = channel_send(channel, &frame, NULL);
    free(text);
    return (void *)(intptr_t)r;
}

/* Larger than any socket buffer, on non-blocking descriptors at both ends. */
static void large_frame_passes_whole(void **state)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    Channel sender, receiver;
    channel_init(&sender, fds[0], FRAME_CONTROL_MAX);
    channel_init(&receiver, fds[1], FRAME_CONTROL_MAX);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_large, &sender), 0);
    Frame frame;
    Error error = { 0 };
    assert_int_equal(channel_receive(&receiver, &frame, &error), 0);
    assert_int_equal(frame.log.message.length, LARGE);
    assert_int_equal(frame.log.message.data[LARGE - 1], 'x');
    void *result;
    pthread_join(thread, &result);
    assert_null(result);
    channel_clear(&sender);
    close(fds[0]);
    assert_int_equal(channel_receive(&receiver, &frame, &error), CHANNEL_E_END);
    channel_clear(&receiver);
    close(fds[1]);
}

static void end_inside_a_frame_is_an_error(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    Buffer bytes = { 0 };
    log_frame(&bytes, "cut", 3);
    assert_int_equal(write(fds[1], buffer_bytes(&bytes), 10), 10);
    close(fds[1]);
    Channel channel;
    channel_init(&channel, fds[0], FRAME_CONTROL_MAX);
    Frame frame;
    Error error = { 0 };
    assert_int_equal(channel_receive(&channel, &frame, &error), -1);
    assert_int_equal(error.kind, ERROR_CANCELLED);
    assert_string_equal(error.message, "the other side is gone, 10 bytes into a frame");
    error_clear(&error);
    channel_clear(&channel);
    buffer_clear(&bytes);
    close(fds[0]);
}

static void writing_to_nobody_is_an_error(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    Error error = { 0 };
    assert_int_equal(channel_write(fds[1], "x", 1, &error), -1);
    assert_int_equal(error.kind, ERROR_CANCELLED);
    assert_string_equal(error.message, "the other side is gone");
    error_clear(&error);
    close(fds[1]);
}

/* A peer that dies without reading what was sent to it: ECONNRESET, which is its end all the same. */
static void reset_is_the_end(void **state)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[0], "unread", 6), 6);
    close(fds[1]);
    Channel channel;
    channel_init(&channel, fds[0], FRAME_CONTROL_MAX);
    Frame frame;
    Error error = { 0 };
    assert_int_equal(channel_receive(&channel, &frame, &error), CHANNEL_E_END);
    channel_clear(&channel);
    close(fds[0]);
}

static void garbage_is_refused(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "\xff\xff\xff\xff garbage and more", 20), 20);
    Channel channel;
    channel_init(&channel, fds[0], FRAME_CONTROL_MAX);
    Frame frame;
    Error error = { 0 };
    assert_int_equal(channel_receive(&channel, &frame, &error), -1);
    assert_int_equal(error.kind, ERROR_INTERNAL);
    error_clear(&error);
    channel_clear(&channel);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_byte_by_byte),
        cmocka_unit_test(large_frame_passes_whole),
        cmocka_unit_test(end_inside_a_frame_is_an_error),
        cmocka_unit_test(writing_to_nobody_is_an_error),
        cmocka_unit_test(reset_is_the_end),
        cmocka_unit_test(garbage_is_refused),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
