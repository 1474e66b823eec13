/* The control socket's methods: what each call is answered with, when, in which order, and what it passes on. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/control-fixture.h"
#include "wherry-build.h"

static void test_introspection(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    call(f, &client, "{\"method\":\"org.varlink.service.GetInfo\"}",
         "{\"parameters\":{\"interfaces\":[\"org.varlink.service\",\"org.wherry.Manager\"],\"product\":\"wherryd\","
         "\"url\":\"\",\"vendor\":\"Wherry\",\"version\":\"" WHERRY_VERSION "\"}}");

    send_text(f, &client,
              "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
              "\"parameters\":{\"interface\":\"org.wherry.Manager\"}}");
    json_t *reply = receive(f, &client);
    const char *text = json_string_value(json_object_get(json_object_get(reply, "parameters"), "description"));
    FILE *file = fopen(MANAGER_INTERFACE_FILE, "re");
    assert_non_null(file);
    char original[16384];
    size_t n = fread(original, 1, sizeof(original) - 1, file);
    original[n] = '\0';
    fclose(file);
    assert_string_equal(text, original);
    json_decref(reply);
    client_close(f, &client);
}

static void test_protocol_errors(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    static const struct {
        const char *request, *reply;
    } cases[] = {
#define INVALID(name) "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"" name "\"}}"
        { "{\"method\":\"org.foo.Bar.Baz\"}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"org.foo.Bar\"}}" },
        { "{\"method\":\"nonsense\"}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"nonsense\"}}" },
        { "{" M "Nothing\"}", "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"org."
                              "wherry.Manager.Nothing\"}}" },
        { "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"a.b\"}}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"a.b\"}}" },
        { "{" M "Monitor\"}", "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}" },
        { "{" M "List\",\"upgrade\":true}",
          "{\"error\":\"org.varlink.service.MethodNotImplemented\",\"parameters\":{\"method\":"
          "\"org.wherry.Manager.List\"}}" },
        { "{" M "List\",\"parameters\":{\"names\":\"orders\"}}", INVALID("names") },
        { "{" M "List\",\"parameters\":{\"names\":[1]}}", INVALID("names") },
        { "{" M "List\",\"parameters\":{\"colour\":\"red\"}}", INVALID("colour") },
        { "{" M "Sync\"}", INVALID("connection") },
        { "{" M "Sync\",\"parameters\":{\"connection\":null}}", INVALID("connection") },
        { "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"full\":\"yes\"}}", INVALID("full") },
        { "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"tables\":[\"a\"]}}", INVALID("tables") },
        { "{" M "Runs\",\"parameters\":{\"limit\":0}}", INVALID("limit") },
        { "{" M "Requeue\"," ORDERS "}", INVALID("file") },
        { "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"quarantined\":true,\"all_failed\":true}}",
          INVALID("file") },
        { "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":[]}}", INVALID("state") },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        call(f, &client, cases[i].request, cases[i].reply);
    assert_int_equal(manager.syncs, 0); /* nothing was done on the way */
    client_close(f, &client);
}

static void test_what_is_no_call_closes(void **state)
{
    Fixture *f = *state;
    static const struct {
        const char *request, *reply;
    } cases[] = {
        { "{}", INVALID("method") },
        { "{\"method\":7}", INVALID("method") },
        { "{" M "List\",\"more\":1}", INVALID("more") },
        { "{" M "List\",\"parameters\":[]}", INVALID("parameters") },
#undef INVALID
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Client client = client_new(f);
        call(f, &client, cases[i].request, cases[i].reply);
        expect_closed(f, &client);
        assert_non_null(strstr(last_log, "something else than calls"));
    }
}

static void test_plain_calls(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    call(f, &client, "{" M "List\"}", "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    call(f, &client, "{" M "List\",\"parameters\":{\"names\":null}}",
         "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    call(f, &client, "{" M "Reload\"}", "{\"parameters\":{\"broken\":[\"bad.yaml:1:1: broken\"],\"connections\":3}}");
    call(f, &client, "{" M "Runs\",\"parameters\":{\"limit\":7}}",
         "{\"parameters\":{\"runs\":[{\"connection\":null,\"limit\":7}]}}");
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Resume\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Cancel\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"file\":\"a.csv\"}}",
         "{\"parameters\":{\"files\":2}}");
    assert_string_equal(manager.requeued, "a.csv/one");
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"all_failed\":true}}",
         "{\"parameters\":{\"files\":2}}");
    assert_string_equal(manager.requeued, "/all");
    client_close(f, &client);
}

static void test_errors_of_the_manager(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    manager.result = MANAGER_E_NO_SUCH_CONNECTION;
    call(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"order\"}}",
         "{\"error\":\"org.wherry.Manager.NoSuchConnection\",\"parameters\":{\"name\":\"order\",\"suggestion\":"
         "\"orders\"}}");
    call(f, &client, "{" M "List\",\"parameters\":{\"names\":[\"x\"]}}",
         "{\"error\":\"org.wherry.Manager.NoSuchConnection\",\"parameters\":{\"name\":\"x\",\"suggestion\":null}}");
    manager.result = MANAGER_E_BROKEN;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.BadConfiguration\",\"parameters\":{\"message\":\"unknown key "
         "\\\"colums\\\"\"}}");
    manager.result = MANAGER_E_NO_SUCH_FILE;
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"file\":\"a.csv\"}}",
         "{\"error\":\"org.wherry.Manager.NoSuchFile\",\"parameters\":{\"name\":\"a.csv\"}}");
    manager.result = MANAGER_E_BUSY;
    static const char *const methods[] = { "GetState", "SetState" };
    for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
        _cleanup_(freep) char *asked = xasprintf("{" M "%s\"," ORDERS "}", methods[i]);
        call(f, &client, asked,
             "{\"error\":\"org.wherry.Manager.Busy\",\"parameters\":{\"connection\":\"orders\",\"run_id\":\"" RUN_ID
             "\"}}");
    }
    manager.result = MANAGER_E_NOT_SYNCING;
    call(f, &client, "{" M "Cancel\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.NotSyncing\",\"parameters\":{\"connection\":\"orders\"}}");
    manager.result = MANAGER_E_STOPPING;
    call(f, &client, "{" M "Sync\"," ORDERS "}", "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    manager.result = -1;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"no space left\"}}");
    client_close(f, &client);
}

static void test_sync_waits_in_order(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), other = client_new(f);

    /* what is asked behind a waiting call is answered behind it; other peers are not held up */
    send_text(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"full\":true}}");
    send_text(f, &client, "{" M "List\"}");
    call(f, &other, "{" M "List\"}", "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID)); /* not asked for */
    event(MANAGER_EVENT_RUN, finished_run("some-other-run"));
    assert_nothing(f, &client);
    assert_int_equal(manager.syncs, 1);
    assert_true(manager.full);
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    expect(f, &client,
           "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
           "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");
    expect(f, &client, "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");

    call(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"wait\":false}}",
         "{\"parameters\":{\"progress\":null,\"run\":null,\"run_id\":\"" RUN_ID "\"}}");

    /* a run that is over before its id is known here */
    manager.end_at_once = true;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
         "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");

    /* oneway: done, never answered */
    int before = manager.syncs;
    send_text(f, &client, "{" M "Sync\"," ORDERS ",\"oneway\":true}");
    send_text(f, &client, "{" M "Nonsense\",\"oneway\":true}");
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    assert_int_equal(manager.syncs, before + 1);
    client_close(f, &client);
    client_close(f, &other);
}

static void test_sync_streams(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), leaver = client_new(f);

    call(f, &client, "{" M "Sync\"," ORDERS ",\"more\":true}",
         "{\"continues\":true,\"parameters\":{\"progress\":{\"bytes\":0,\"bytes_total\":null,\"file\":null,\"phase\":"
         "\"queued\",\"rows\":0,\"run_id\":\"" RUN_ID "\"},\"run\":null,\"run_id\":\"" RUN_ID "\"}}");
    send_text(f, &leaver, "{" M "Sync\"," ORDERS ",\"more\":true}");
    json_decref(receive(f, &leaver));
    client_close(f, &leaver); /* cancels its call, not the sync */
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s, s:i}", "run_id", RUN_ID, "rows", 5));
    expect(f, &client,
           "{\"continues\":true,\"parameters\":{\"progress\":{\"rows\":5,\"run_id\":\"" RUN_ID
           "\"},\"run\":null,\"run_id\":\"" RUN_ID "\"}}");
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    expect(f, &client,
           "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
           "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID));
    assert_nothing(f, &client);
    client_close(f, &client);
}

static void test_state_is_asynchronous(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    _cleanup_(error_clear) Error error = { 0 };
    json_t *cursor = json_pack("{s:i}", "cursor", 7);

    send_text(f, &client, "{" M "GetState\"," ORDERS "}");
    assert_nothing(f, &client);
    manager.state_callback(cursor, NULL, manager.state_userdata);
    expect(f, &client, "{\"parameters\":{\"state\":{\"cursor\":7}}}");

    send_text(f, &client, "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":{}}}");
    assert_nothing(f, &client);
    assert_false(manager.state_reset);
    manager.state_callback(NULL, NULL, manager.state_userdata);
    expect(f, &client, "{\"parameters\":{}}");

    send_text(f, &client, "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":null}}");
    assert_nothing(f, &client);
    assert_true(manager.state_reset);
    error_set(&error, ERROR_TEMPORARY, "\"orders.db\" is locked");
    manager.state_callback(NULL, &error, manager.state_userdata);
    expect(f, &client,
           "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"\\\"orders.db\\\" is locked\"}}");

    /* the caller goes before the answer is there */
    send_text(f, &client, "{" M "GetState\"," ORDERS "}");
    assert_nothing(f, &client);
    client_close(f, &client);
    manager.state_callback(cursor, NULL, manager.state_userdata);
    json_decref(cursor);
}

static void test_monitor(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    assert_nothing(f, &client);
    event(MANAGER_EVENT_CONNECTION, json_pack("{s:s}", "name", "orders"));
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID));
    event(MANAGER_EVENT_RUN, json_pack("{s:s}", "run_id", RUN_ID));
    expect(f, &client, "{\"continues\":true,\"parameters\":{\"connection\":{\"name\":\"orders\"},\"run\":null}}");
    expect(f, &client, "{\"continues\":true,\"parameters\":{\"connection\":null,\"run\":{\"run_id\":\"" RUN_ID "\"}}}");
    client_close(f, &client);
}

static void test_stopping_answers_who_waits(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), pending = client_new(f);
    _cleanup_(error_clear) Error error = { 0 };

    send_text(f, &client, "{" M "Sync\"," ORDERS "}");
    send_text(f, &pending, "{" M "GetState\"," ORDERS "}");
    turn(f);
    f->control = control_free(f->control);
    expect(f, &client, "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    expect_closed(f, &client);
    expect(f, &pending, "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    expect_closed(f, &pending);
    error_set(&error, ERROR_CANCELLED, "stopping");
    manager.state_callback(NULL, &error, manager.state_userdata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        control_test(test_introspection),
        control_test(test_protocol_errors),
        control_test(test_what_is_no_call_closes),
        control_test(test_plain_calls),
        control_test(test_errors_of_the_manager),
        control_test(test_sync_waits_in_order),
        control_test(test_sync_streams),
        control_test(test_state_is_asynchronous),
        control_test(test_monitor),
        control_test(test_stopping_answers_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
