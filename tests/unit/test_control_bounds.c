/* What one peer can cost the control socket: slow and idle readers, garbage, many calls, large answers, connections. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/control-fixture.h"

static void test_slow_reader_is_dropped(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), other = client_new(f);
    json_t *big = big_string();

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    turn(f);
    for (int i = 0; i < 14; i++) {
        event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
        turn(f);
    }
    assert_int_equal(log_lines, 0);
    for (int i = 0; i < 4; i++)
        event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
    assert_int_equal(log_lines, 1);
    assert_non_null(strstr(last_log, "reads too slowly: more than 16 MiB"));
    turn(f);
    json_decref(big);
    call(f, &other, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}"); /* others live on */
    client_close(f, &client);
    client_close(f, &other);
}

static void test_idle_peers_are_closed(void **state)
{
    Fixture *f = *state;
    Client idle = client_new(f), busy = client_new(f), half = client_new(f);

    send_text(f, &busy, "{" M "Sync\"," ORDERS "}");
    now_ms += CONTROL_IDLE_MS - 10000;
    turn(f);
    send_bytes(f, &half, "{\"method\"", 9); /* the beginning of a call is not a call */
    call(f, &idle, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    now_ms += 11000;
    expect_closed(f, &half);
    assert_nothing(f, &idle);
    now_ms += CONTROL_IDLE_MS;
    expect_closed(f, &idle);
    assert_nothing(f, &busy);
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    json_decref(receive(f, &busy));
    assert_nothing(f, &busy);
    now_ms += CONTROL_IDLE_MS + 1;
    expect_closed(f, &busy);
    assert_int_equal(log_lines, 0);
}

static void test_who_does_not_read_is_dropped(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    json_t *big = big_string();

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
    json_decref(big);
    turn(f);
    now_ms += CONTROL_IDLE_MS + 1;
    turn(f);
    assert_int_equal(log_lines, 1);
    assert_non_null(strstr(last_log, "it did not read its answers for 45 s"));
    client_close(f, &client);
}

static void test_garbage_closes_with_an_error(void **state)
{
    Fixture *f = *state;
    static const char refused[] =
        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"message\"}}";
    _cleanup_(buffer_clear) Buffer deep = { 0 };
    Client client = client_new(f);

    send_text(f, &client, "GET / HTTP/1.1\r\n\r\n");
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "not JSON"));

    client = client_new(f);
    char *big = xmalloc(CONTROL_MESSAGE_MAX + 1);
    memset(big, ' ', CONTROL_MESSAGE_MAX + 1);
    send_bytes(f, &client, big, CONTROL_MESSAGE_MAX + 1);
    free(big);
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "longer than 1048576 bytes"));

    client = client_new(f);
    buffer_append_string(&deep, "{\"method\":");
    for (int i = 0; i < 500000; i++)
        buffer_append_string(&deep, "[");
    buffer_append(&deep, "", 1);
    send_bytes(f, &client, buffer_bytes(&deep), buffer_length(&deep));
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "nests deeper"));

    /* a good call before the bad bytes is answered */
    client = client_new(f);
    static const char mixed[] = "{" M "Pause\"," ORDERS "}\0]";
    send_bytes(f, &client, mixed, sizeof(mixed));
    expect(f, &client, "{\"parameters\":{}}");
    expect(f, &client, refused);
    expect_closed(f, &client);

    /* the log does not follow every one of them */
    for (int i = 0; i < 60; i++) {
        client = client_new(f);
        send_text(f, &client, "x");
        expect(f, &client, refused);
        expect_closed(f, &client);
    }
    assert_true(log_lines <= 21);
}

static void test_pipelined_calls_are_paced(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    static const char request[] = "{" M "Pause\"," ORDERS "}";
    enum { CALLS = 30000 }; /* 2 MB of calls, half a MB of answers */
    size_t sent = 0, answered = 0;
    _cleanup_(buffer_clear) Buffer all = { 0 };

    for (size_t i = 0; i < CALLS; i++)
        buffer_append(&all, request, sizeof(request));
    while (answered < CALLS) {
        ssize_t n = send(client.fd, buffer_bytes(&all) + sent, buffer_length(&all) - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        turn(f);
        char bytes[4096];
        while ((n = recv(client.fd, bytes, sizeof(bytes), 0)) > 0)
            for (ssize_t i = 0; i < n; i++)
                answered += bytes[i] == '\0';
        assert_true(n != 0);
    }
    assert_int_equal(answered, CALLS);
    client_close(f, &client);
}

static void test_large_answers_are_paced(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    json_t *big = big_string();
    json_decref(manager.list);
    manager.list = json_pack("[o]", big);

    /* whoever asks for much at once is no slow reader: the calls wait, not the answers */
    enum { CALLS = 20 };
    for (int i = 0; i < CALLS; i++)
        send_text(f, &client, "{" M "List\"}");
    char bytes[65536];
    for (int answered = 0; answered < CALLS; turn(f)) {
        ssize_t n = recv(client.fd, bytes, sizeof(bytes), 0);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        for (ssize_t i = 0; i < n; i++)
            answered += bytes[i] == '\0';
    }
    assert_int_equal(log_lines, 0);
    client_close(f, &client);
}

static void test_long_lists_come_in_pieces(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    enum { FILES = 3210 };
    json_decref(manager.list);
    manager.list = json_array();
    for (int i = 0; i < FILES; i++)
        json_array_append_new(manager.list, json_pack("{s:i}", "i", i));

    send_text(f, &client, "{" M "Files\"," ORDERS ",\"more\":true}");
    size_t seen = 0, replies = 0;
    for (bool continues = true; continues; replies++) {
        json_t *reply = receive(f, &client), *piece, *entry;
        size_t i;
        assert_non_null(reply);
        piece = json_object_get(json_object_get(reply, "parameters"), "files");
        json_array_foreach (piece, i, entry)
            assert_int_equal(json_integer_value(json_object_get(entry, "i")), seen++);
        continues = json_is_true(json_object_get(reply, "continues"));
        json_decref(reply);
    }
    assert_int_equal(seen, FILES);
    assert_int_equal(replies, 7);

    /* without `more`, what no client would take as one message is an error and not a dropped connection */
    json_t *big = big_string();
    json_array_clear(manager.list);
    for (int i = 0; i < 17; i++)
        json_array_append(manager.list, big);
    json_decref(big);
    call(f, &client, "{" M "Files\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"the answer is too long for one reply: "
         "call with \\\"more\\\"\"}}");
    client_close(f, &client);
}

static void test_many_calls_take_turns(void **state)
{
    Fixture *f = *state;
    Client many = client_new(f);
    static const char request[] = "{" M "Sync\"," ORDERS ",\"oneway\":true}";
    _cleanup_(buffer_clear) Buffer all = { 0 };

    /* nothing is written for these, so that only the turn itself can go on with them */
    for (int i = 0; i < 500; i++)
        buffer_append(&all, request, sizeof(request));
    assert_int_equal(send(many.fd, buffer_bytes(&all), buffer_length(&all), MSG_NOSIGNAL), buffer_length(&all));
    int before = manager.syncs, most = 0;
    for (int i = 0; i < 500 && manager.syncs < 500; i++, before = manager.syncs) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        now_ms++;
        most = MAX_OF(most, manager.syncs - before);
    }
    assert_int_equal(manager.syncs, 500);
    assert_in_range(most, 1, 64);
    client_close(f, &many);
}

static void test_connections_are_bounded(void **state)
{
    Fixture *f = *state;
    Client clients[CONTROL_CONNECTIONS_MAX];
    if (geteuid() != 0)
        skip();

    assert_int_equal(chmod(f->dir, 0755), 0);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        clients[i] = client_of(f, (uid_t)(10000 + i / CONTROL_CONNECTIONS_PER_USER_MAX), WHERRY_GID, WHERRY_GID);
    Client *last = &clients[ELEMENTSOF(clients) - 1];
    call(f, last, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    Client extra = client_new(f);
    call(f, &extra, "{" M "Pause\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.TooManyConnections\",\"parameters\":{\"limit\":256}}");
    expect_closed(f, &extra);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        client_close(f, &clients[i]);
}

static void test_connections_per_user_are_bounded(void **state)
{
    Fixture *f = *state;
    Client clients[CONTROL_CONNECTIONS_PER_USER_MAX + 20];
    for (size_t i = 0; i < CONTROL_CONNECTIONS_PER_USER_MAX; i++)
        clients[i] = client_new(f);
    for (size_t i = CONTROL_CONNECTIONS_PER_USER_MAX; i < ELEMENTSOF(clients); i++)
        clients[i] = client_new(f);

    call(f, &clients[0], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &clients[CONTROL_CONNECTIONS_PER_USER_MAX - 1], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    Client *extra = &clients[CONTROL_CONNECTIONS_PER_USER_MAX];
    call(f, extra, "{" M "Pause\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.TooManyConnections\",\"parameters\":{\"limit\":64}}");
    expect_closed(f, extra);
    /* those beyond what is kept for an answer are closed at once */
    char byte;
    assert_int_equal(recv(clients[ELEMENTSOF(clients) - 1].fd, &byte, 1, 0), 0);
    client_close(f, &clients[ELEMENTSOF(clients) - 1]);
    extra->fd = clients[ELEMENTSOF(clients) - 1].fd = -1;

    /* a place that becomes free is given on */
    client_close(f, &clients[0]);
    clients[0] = client_new(f);
    call(f, &clients[0], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        if (clients[i].fd >= 0)
            client_close(f, &clients[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        control_test(test_slow_reader_is_dropped),    control_test(test_who_does_not_read_is_dropped),
        control_test(test_idle_peers_are_closed),     control_test(test_garbage_closes_with_an_error),
        control_test(test_pipelined_calls_are_paced), control_test(test_many_calls_take_turns),
        control_test(test_large_answers_are_paced),   control_test(test_long_lists_come_in_pieces),
        control_test(test_connections_are_bounded),   control_test(test_connections_per_user_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
