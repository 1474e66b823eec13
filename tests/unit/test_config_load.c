/*
 * What configuration becomes: the connection's JSON, defaults, names, reloads that take over what did not change,
 * secrets, the check command's output, and that what lies in etc/ agrees with the code.
 */
#include "tests/unit/config-files.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <syslog.h>

#include "daemon/wherryd/check.h"
#include "daemon/wherryd/secret.h"

#define SETTLED_US 60000 /* after this a file's times are trusted */

static int enter_pipelines(void **state)
{
    enter_folder(state);
    assert_int_equal(mkdir("etc", 0700), 0);
    assert_int_equal(mkdir("etc/pipelines.d", 0700), 0);
    return 0;
}

static ConfigSet *load_all(const ConfigSet *previous)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    int r = config_load("etc", "state", previous, &set, &error);
    if (r < 0)
        print_error("%s\n", error.message);
    assert_int_equal(r, 0);
    return set;
}

static void expect_failure(const char *message)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load("etc", "state", NULL, &set, &error), -1);
    assert_null(set);
    assert_int_equal(error.kind, ERROR_CONFIGURATION);
    _cleanup_(freep) char *said = relative(error.message);
    assert_string_equal(said, message);
}

static json_t *json_of(const ConfigSet *set, const char *name)
{
    const ConnectionConfig *config = config_set_find(set, name);
    assert_non_null(config);
    json_t *json = json_loads(config->json, 0, NULL);
    assert_non_null(json);
    return json;
}

static void expect_said(const ConfigSet *set, const char *expected)
{
    _cleanup_(freep) char *said = said_of_set(set);
    assert_string_equal(said, expected);
}

/* --- one connection --- */

static void expect_json(const ConfigSet *set, const char *name, const char *expected)
{
    _cleanup_(freep) char *text = relative(config_set_find(set, name)->json);
    json_t *found = json_loads(text, 0, NULL), *wanted = json_loads(expected, 0, NULL);
    assert_non_null(found);
    assert_non_null(wanted);
    if (!json_equal(found, wanted))
        assert_string_equal(text, expected);
    json_decref(found);
    json_decref(wanted);
}

static void test_whole_form(void **state)
{
    write_text("etc/pipelines.d/orders.yaml", "frequency: 15m\n"
                                              "source:\n"
                                              "  type: files\n"
                                              "  dir: in\n"
                                              "  file_pattern: \"*.csv\"\n"
                                              "  watch: true\n"
                                              "format: csv\n"
                                              "dest_table: orders\n"
                                              "write_mode: append\n"
                                              "columns:\n"
                                              "  - {source: id, dest: order_id, type: integer}\n"
                                              "  - {source: note, type: string, required: false}\n"
                                              "connector:\n"
                                              "  type: sqlite\n"
                                              "  url: sqlite:////var/lib/wherry/orders.db\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    expect_json(set, "orders",
                "{\"name\": \"orders\", \"frequency\": 900, \"paused\": false, \"write_mode\": \"append\","
                " \"retry_cap\": 3, \"max_value_size\": 16777216, \"stall_timeout\": 1800, \"commit_interval\": 1,"
                " \"log_level\": \"info\", \"log_table\": false, \"sandbox\": {\"mode\": \"default\"},"
                " \"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\", \"file_pattern\": \"*.csv\","
                " \"watch\": true},"
                " \"format\": \"csv\", \"csv\": {\"delimiter\": \",\", \"quote\": \"\\\"\", \"header\": true,"
                " \"empty\": \"null\"}, \"encoding\": \"utf-8\", \"source_manifest\": \"optional\","
                " \"dest_table\": \"orders\", \"columns\": ["
                "{\"source\": \"id\", \"dest\": \"order_id\", \"type\": \"integer\", \"required\": true},"
                "{\"source\": \"note\", \"dest\": \"note\", \"type\": \"string\", \"required\": false}],"
                " \"destination\": {\"type\": \"sqlite\", \"path\": \"/var/lib/wherry/orders.db\","
                " \"busy_timeout\": 60}}");
    const ConnectionConfig *config = config_set_find(set, "orders");
    _cleanup_(freep) char *watch = relative(config->watch_dir), *path = relative(config->path);
    assert_string_equal(config->name, "orders");
    assert_string_equal(path, "@/etc/pipelines.d/orders.yaml");
    assert_string_equal(config->source, "files");
    assert_string_equal(config->destination, "sqlite");
    assert_string_equal(config->identity, "sqlite:/var/lib/wherry/orders.db");
    assert_string_equal(watch, "@/etc/pipelines.d/in");
    assert_int_equal(config->frequency_s, 900);
    assert_int_equal(config->stall_timeout_s, 1800);
    assert_int_equal(config->retry_cap, 3);
    assert_int_equal(config->log_level, LOG_INFO);
    assert_false(config->paused);
    assert_true(config->local);
    assert_null(config_set_find(set, "order"));
}

/* Other spellings, and what they come to: a JSON fragment that must be part of the connection. */
static void test_values(void **state)
{
    static const struct {
        const char *file, *part;
    } cases[] = {
        { ALL, "{\"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\", \"file_pattern\": \"*\","
               " \"watch\": false}}" },
        { "\xef\xbb\xbf" ALL, "{\"frequency\": 900}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION, "{\"frequency\": 21600}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION "frequency: manual\n", "{\"frequency\": 0}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION "frequency: 1s\n", "{\"frequency\": 1}" },
        { ALL "stall_timeout: off\ncommit_interval: 0\n", "{\"stall_timeout\": 0, \"commit_interval\": 0}" },
        { ALL "stall_timeout: 2d\ncommit_interval: 0s\n", "{\"stall_timeout\": 172800, \"commit_interval\": 0}" },
        { ALL "max_value_size: 512M\n", "{\"max_value_size\": 536870912}" },
        { ALL "max_value_size: 1024\n", "{\"max_value_size\": 1024}" },
        { ALL "paused: yes\nlog_level: debug\nretry_cap: 7\n",
          "{\"paused\": true, \"log_level\": \"debug\", \"retry_cap\": 7}" },
        { ALL "sandbox: strict\n", "{\"sandbox\": {\"mode\": \"strict\"}}" },
        { ALL "sandbox: {memory: 1G, ports: [443, 8086]}\n",
          "{\"sandbox\": {\"mode\": \"default\", \"memory\": 1073741824, \"ports\": [443, 8086]}}" },
        { ALL "file_pattern: '*.csv'\n", "{\"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\","
                                         " \"file_pattern\": \"*.csv\", \"watch\": false}}" },
        { ALL "csv: {delimiter: tab, quote: \"'\", null: -999, empty: keep}\n",
          "{\"csv\": {\"delimiter\": \"\\t\", \"quote\": \"'\", \"header\": true, \"null\": \"-999\","
          " \"empty\": \"keep\"}}" },
        { ALL "csv: {null: \"\", empty: null}\n", "{\"csv\": {\"delimiter\": \",\", \"quote\": \"\\\"\", \"header\": "
                                                  "true, \"null\": \"\", \"empty\": \"null\"}}" },
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION "csv: {header: no}\n"
                                                    "columns: [{source: 3, dest: c, type: json}]\n",
          "{\"columns\": [{\"source\": 3, \"dest\": \"c\", \"type\": \"json\", \"required\": true}]}" },
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION
          "columns: [{source: 2024, type: float}, {source: \"1\", type: date}]\n",
          "{\"columns\": [{\"source\": \"2024\", \"dest\": \"2024\", \"type\": \"float\", \"required\": true},"
          " {\"source\": \"1\", \"dest\": \"1\", \"type\": \"date\", \"required\": true}]}" },
        { FREQUENCY SOURCE TABLE DESTINATION "format: fixed_width\nencoding: latin1\n"
                                             "columns: [{source: a, type: binary, start: 1, width: 8}]\n",
          "{\"csv\": null, \"encoding\": \"latin1\", \"columns\": [{\"source\": \"a\", \"dest\": \"a\", \"type\":"
          " \"binary\", \"required\": true, \"start\": 1, \"width\": 8}]}" },
        { FREQUENCY SOURCE FORMAT TABLE COLUMNS
          "destination: {type: sqlite, url: \"sqlite:///../x.db\", journal_mode: wal, busy_timeout: 0}\n",
          "{\"destination\": {\"type\": \"sqlite\", \"path\": \"@/etc/pipelines.d/../x.db\", \"journal_mode\": \"wal\","
          " \"busy_timeout\": 0}}" },
        { ALL "source_manifest: disabled\nquarantine: {enabled: false, max_invalid_rows: 5}\n",
          "{\"source_manifest\": \"disabled\", \"quarantine\": null}" },
        { ALL "quarantine: {enabled: true, dir: bad, max_invalid_fraction: 0.25}\n",
          "{\"quarantine\": {\"enabled\": true, \"dir\": \"@/etc/pipelines.d/bad\", \"max_invalid_fraction\": 0.25}}" },
        /* anchors and merges */
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION
          "columns:\n  - &c {source: a, type: date, required: no}\n  - {<<: *c, source: b}\n",
          "{\"columns\": [{\"source\": \"a\", \"dest\": \"a\", \"type\": \"date\", \"required\": false},"
          " {\"source\": \"b\", \"dest\": \"b\", \"type\": \"date\", \"required\": false}]}" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text("etc/pipelines.d/one.yaml", cases[i].file);
        _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
        expect_said(set, "");
        json_t *found = json_of(set, "one"), *wanted = json_loads(cases[i].part, 0, NULL), *value;
        assert_non_null(wanted);
        const char *key;
        json_object_foreach (wanted, key, value) {
            json_t *own = json_object_get(found, key);
            _cleanup_(freep) char *dump = own ? json_dumps(own, JSON_ENCODE_ANY | JSON_SORT_KEYS) : xstrdup("null");
            _cleanup_(freep) char *text = relative(dump), *want = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
            assert_string_equal(text, want);
        }
        json_decref(found);
        json_decref(wanted);
    }
}

static void test_harmless_keys_warn(void **state)
{
    write_text("etc/pipelines.d/one.yaml", ALL "batch_size: 500\nstale_timeout_minutes: 30\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "one.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                     "one.yaml:8:1: warning: \"stale_timeout_minutes\" has no effect: a file left by a sync that died "
                     "is taken up again at once");
    assert_int_equal(set->connection_count, 1);
}

/* Two spellings of one file wait for each other; a database in another place does not. */
static void test_identity(void **state)
{
    mkdir("data", 0700);
    assert_int_equal(symlink("data", "alias"), 0);
    assert_int_equal(symlink("later.db", "data/dangling.db"), 0);
    static const struct {
        const char *path, *identity;
    } cases[] = {
        { "../../data/x.db", "sqlite:@/data/x.db" },
        { "../../alias/x.db", "sqlite:@/data/x.db" },
        { "../../data/no/../x.db", "sqlite:@/data/x.db" },
        { "../../data/./x.db", "sqlite:@/data/x.db" },
        { "../../alias/dangling.db", "sqlite:@/data/later.db" },
        { "../../data/new/x.db", "sqlite:@/data/new/x.db" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *file =
            xasprintf(FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: %s}\n", cases[i].path);
        write_text("etc/pipelines.d/one.yaml", file);
        _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
        expect_said(set, "");
        _cleanup_(freep) char *identity = relative(config_set_find(set, "one")->identity);
        assert_string_equal(identity, cases[i].identity);
    }
}

/* --- wherry.yaml --- */

static void test_daemon_settings(void **state)
{
    _cleanup_(config_set_freep) ConfigSet *bare = load_all(NULL);
    assert_true(bare->daemon.max_syncs >= 2);
    assert_int_equal(bare->daemon.max_syncs % 2, 0);
    assert_int_equal(bare->daemon.log_level, LOG_INFO);
    write_text("etc/wherry.yaml", "max_syncs: 3\nlog_level: error\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    assert_int_equal(set->daemon.max_syncs, 3);
    assert_int_equal(set->daemon.log_level, LOG_ERR);
}

static void test_named_destination(void **state)
{
    write_text("etc/wherry.yaml", "destinations:\n  main: {type: sqlite, path: main.db, busy_timeout: 5s}\n");
    write_text("etc/pipelines.d/one.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: main\n");
    write_text("etc/pipelines.d/two.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "connector: main\n");
    write_text("etc/pipelines.d/zero.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: lake\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "zero.yaml:6:14: wherry.yaml has no destination \"lake\"; add it under \"destinations\", or write "
                     "{type: sqlite, …} here");
    json_t *json = json_of(set, "two");
    _cleanup_(freep) char *dump = json_dumps(json_object_get(json, "destination"), JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *text = relative(dump);
    assert_string_equal(text, "{\"busy_timeout\":5,\"path\":\"@/etc/main.db\",\"type\":\"sqlite\"}");
    json_decref(json);
    write_text("etc/pipelines.d/zero.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: maim\n");
    _cleanup_(config_set_freep) ConfigSet *again = load_all(NULL);
    expect_said(again, "zero.yaml:6:14: wherry.yaml has no destination \"maim\"; did you mean \"main\"?");
}

/* The file's own key wins whole; a default that belongs to another kind of connection is nobody's mistake. */
static void test_defaults(void **state)
{
    write_text("etc/wherry.yaml", "defaults:\n"
                                  "  frequency: 1h\n"
                                  "  paused: true\n"
                                  "  csv: {delimiter: \";\", header: false}\n"
                                  "  connector: {type: sqlite, path: shared.db}\n");
    write_text("etc/pipelines.d/one.yaml", SOURCE FORMAT TABLE COLUMNS "csv: {quote: \"'\"}\npaused: false\n");
    write_text("etc/pipelines.d/two.yaml",
               SOURCE TABLE COLUMNS "format: ndjson\ndestination: {type: sqlite, path: a.db}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    json_t *one = json_of(set, "one"), *two = json_of(set, "two");
    assert_int_equal(json_integer_value(json_object_get(one, "frequency")), 3600);
    assert_true(json_is_false(json_object_get(one, "paused")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(one, "csv"), "delimiter")), ",");
    assert_true(json_is_true(json_object_get(two, "paused")));
    assert_null(json_object_get(two, "csv"));
    _cleanup_(freep) char *shared = relative(config_set_find(set, "one")->identity);
    _cleanup_(freep) char *own = relative(config_set_find(set, "two")->identity);
    assert_string_equal(shared, "sqlite:@/etc/shared.db");
    assert_string_equal(own, "sqlite:@/etc/pipelines.d/a.db");
    json_decref(one);
    json_decref(two);
}

static void test_bad_daemon_file(void **state)
{
    static const struct {
        const char *file, *said;
    } cases[] = {
        { "max_sync: 3\n", "wherry.yaml:1:1: unknown key \"max_sync\"; did you mean \"max_syncs\"?" },
        { "max_syncs: 0\n", "wherry.yaml:1:12: \"max_syncs\" must be a whole number from 1 to 10000, not \"0\"" },
        { "log_level: loud\n",
          "wherry.yaml:1:12: \"log_level\" must be debug, info, notice, warning or error, not \"loud\"" },
        { "- a\n", "wherry.yaml:1:1: wherry.yaml is a map of keys, such as \"max_syncs: 4\"" },
        { "a: [\n", "wherry.yaml:2:1: not valid YAML: flow sequence without a closing bracket" },
        { "defaults: 3\n", "wherry.yaml:1:11: \"defaults\" must be a map of keys, such as \"frequency: 1h\"" },
        { "defaults: {frequncy: 1h, paused: 3}\n",
          "wherry.yaml:1:12: unknown key \"frequncy\"; did you mean \"frequency\"?\n"
          "wherry.yaml:1:34: \"paused\" must be true or false, not \"3\"" },
        { "destinations: [a]\n",
          "wherry.yaml:1:15: \"destinations\" must be a map of names, such as \"main: {type: sqlite, …}\"" },
        { "destinations: {Main: {type: sqlite, path: a.db}}\n",
          "wherry.yaml:1:16: \"Main\" cannot name a destination: use a-z, 0-9 and _, beginning with a letter or _" },
        { "destinations: {main: {type: sqlite}, other: {type: sqlit}}\n",
          "wherry.yaml:1:22: missing key \"url\": the database, such as sqlite:////var/lib/wherry/data.db\n"
          "wherry.yaml:1:52: unknown destination type \"sqlit\"; did you mean \"sqlite\"?" },
        { "destinations: {main: {type: sqlite, path: ../state/daemon/a.db}}\n",
          "wherry.yaml:1:43: \"@/etc/../state/daemon/a.db\" lies in wherry's own folder \"@/state/daemon\"; put the "
          "database elsewhere" },
    };
    write_text("etc/pipelines.d/one.yaml", ALL);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text("etc/wherry.yaml", cases[i].file);
        expect_failure(cases[i].said);
    }
    assert_int_equal(unlink("etc/wherry.yaml"), 0);
    assert_int_equal(symlink("nothing", "etc/wherry.yaml"), 0);
    expect_failure("wherry.yaml: a symbolic link to nothing; mend or remove it");
}

static void test_folders(void **state)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load("nowhere", NULL, NULL, &set, &error), -1);
    _cleanup_(freep) char *said = relative(error.message);
    assert_string_equal(said, "cannot read the configuration folder \"@/nowhere\" (see --config-dir): no such file or "
                              "directory");
    assert_int_equal(rmdir("etc/pipelines.d"), 0);
    _cleanup_(config_set_freep) ConfigSet *empty = load_all(NULL);
    expect_said(empty, "@/etc/pipelines.d: warning: no such folder: pipeline files belong there");
}

/* --- names of files --- */

static void test_file_names(void **state)
{
    static const char *const ignored[] = { ".hidden.yaml", "a.yaml~",       "a.yaml.bak", "#a.yaml#",
                                           ".a.yaml.swp",  "a.yaml.rpmnew", "a.disabled", "a.yaml.dpkg-dist" };
    for (size_t i = 0; i < ELEMENTSOF(ignored); i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/%s", ignored[i]);
        write_text(path, "bad: [\n");
    }
    write_text("etc/pipelines.d/good.yaml", ALL);
    write_text("etc/pipelines.d/Orders.yaml", ALL);
    write_text("etc/pipelines.d/2nd.yaml", ALL);
    write_text("etc/pipelines.d/a-b.yaml", ALL);
    write_text("etc/pipelines.d/a\nb.yaml", ALL);
    write_text("etc/pipelines.d/b.YAML", ALL);
    write_text("etc/pipelines.d/c.yml", ALL);
    write_text("etc/pipelines.d/README", "see the manual");
    mkdir("etc/pipelines.d/folder.yaml", 0700);
    assert_int_equal(mkfifo("etc/pipelines.d/pipe.yaml", 0600), 0);
    assert_int_equal(symlink("nothing", "etc/pipelines.d/dangling.yaml"), 0);
    assert_int_equal(symlink("loop.yaml", "etc/pipelines.d/loop.yaml"), 0);
    write_text("linked", ALL);
    assert_int_equal(symlink("../../linked", "etc/pipelines.d/linked.yaml"), 0);
    static const char rule[] = "cannot name a connection; rename it: a-z, 0-9 and _, beginning with a letter or _, at "
                               "most 63, then .yaml";
    _cleanup_(freep) char *expected = xasprintf("2nd.yaml: %s\nOrders.yaml: %s\na\\x0Ab.yaml: %s\na-b.yaml: %s\n"
                                                "b.YAML: must end in .yaml; rename it to \"b.yaml\"\n"
                                                "c.yml: must end in .yaml; rename it to \"c.yaml\"\n"
                                                "dangling.yaml: a symbolic link to nothing; mend or remove it\n"
                                                "folder.yaml: a folder, not a file\n"
                                                "loop.yaml: cannot be read: too many levels of symbolic links\n"
                                                "pipe.yaml: a pipe, socket or device, not a file\n"
                                                "README: warning: ignored: a pipeline file is called NAME.yaml",
                                                rule, rule, rule, rule);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, expected);
    assert_int_equal(set->connection_count, 2);
    assert_string_equal(set->connections[0]->name, "good");
    assert_string_equal(set->connections[1]->name, "linked");
    assert_string_equal(set->problems[0].name, "2nd");
    assert_string_equal(set->problems[2].name, "a\\x0Ab");
}

static void test_one_file(void **state)
{
    static const struct {
        const char *file, *name;
    } cases[] = { { "orders.yaml", "orders" },
                  { "My-Orders.v2.yml", "my_orders_v2" },
                  { "2024.yaml", "_2024" },
                  { "plain", "plain" } };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text(cases[i].file, ALL);
        _cleanup_(config_set_freep) ConfigSet *set = load_file(cases[i].file, NULL);
        expect_said(set, "");
        _cleanup_(freep) char *path = relative(set->connections[0]->path), *json = relative(set->connections[0]->json);
        _cleanup_(freep) char *expected = xasprintf("@/%s", cases[i].file);
        assert_string_equal(set->connections[0]->name, cases[i].name);
        assert_string_equal(path, expected);
        assert_non_null(strstr(json, "\"dir\":\"@/in\""));
    }
    _cleanup_(config_set_freep) ConfigSet *missing = load_file("missing.yaml", NULL);
    expect_said(missing, "missing.yaml: cannot be read: no such file or directory");
}

static void test_lent_dir(void **state)
{
    write_text("filedge.yaml", FORMAT TABLE COLUMNS "connector: {type: sqlite, url: \"sqlite:///x.db\"}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_file("filedge.yaml", "incoming");
    expect_said(set, "");
    _cleanup_(freep) char *json = relative(set->connections[0]->json);
    assert_non_null(strstr(json, "\"dir\":\"@/incoming\""));
    _cleanup_(config_set_freep) ConfigSet *without = load_file("filedge.yaml", NULL);
    expect_said(without, "filedge.yaml:1:1: missing key \"source\"; name the folder with \"wherryctl run FILE --dir "
                         "DIR\", or add these two lines, with the folder to read:\n"
                         "source:\n  {type: files, dir: /srv/incoming}");
    /* the two lines it shows are right */
    const char *lines = strstr(without->problems[0].message, "source:\n");
    _cleanup_(freep) char *mended = xasprintf(FORMAT TABLE COLUMNS DESTINATION "%s\n", lines);
    write_text("mended.yaml", mended);
    _cleanup_(config_set_freep) ConfigSet *good = load_file("mended.yaml", NULL);
    expect_said(good, "");
    write_text("own.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *own = load_file("own.yaml", "incoming");
    expect_said(own, "own.yaml:2:9: this file has a \"source\" of its own; leave out --dir");
}

/* Enough files for several threads: nothing is lost, nothing is mixed up, all is in order. */
static void test_many_files(void **state)
{
    enum { FILES = 1000 };
    write_text("etc/wherry.yaml",
               "destinations: {main: {type: sqlite, path: main.db}}\ndefaults: {destination: main}\n");
    for (int i = 0; i < FILES; i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/c%04d.yaml", i);
        _cleanup_(freep) char *file =
            xasprintf(SOURCE FORMAT COLUMNS "dest_table: %s%d\n%s", i % 10 == 3 ? "_wherry_" : "t", i,
                      i % 10 == 5 ? "batch_size: 1\n" : "");
        write_text(path, file);
    }
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    assert_int_equal(set->connection_count, FILES - FILES / 10);
    assert_int_equal(set->problem_count, FILES / 10);
    assert_int_equal(set->warning_count, FILES / 10);
    for (int i = 0; i < FILES; i++) {
        char name[16], table[32];
        snprintf(name, sizeof(name), "c%04d", i);
        snprintf(table, sizeof(table), "\"dest_table\":\"t%d\"", i);
        const ConnectionConfig *config = config_set_find(set, name);
        assert_true((config == NULL) == (i % 10 == 3));
        if (config)
            assert_non_null(strstr(config->json, table));
        if (config)
            assert_true((config->warnings != NULL) == (i % 10 == 5));
        if (i % 10 == 3)
            assert_string_equal(set->problems[i / 10].name, name);
        if (i % 10 == 5)
            assert_true(strncmp(set->warnings[i / 10], name, strlen(name)) == 0);
    }
}

/* --- reloading --- */

/* A reload after PREVIOUS, and which file it opened (the last one; "" for none). */
static ConfigSet *load_watched(const ConfigSet *previous, char ret_opened[static 64])
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, "etc/pipelines.d", IN_OPEN) >= 0);
    ConfigSet *set = load_all(previous);
    char events[4096] __attribute__((aligned(8)));
    ssize_t n;
    ret_opened[0] = '\0';
    while ((n = read(watch, events, sizeof(events))) > 0)
        for (char *at = events; at < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            if (event->len > 0) /* 0: the folder itself */
                snprintf(ret_opened, 64, "%s", event->name);
            at += sizeof(*event) + event->len;
        }
    close(watch);
    return set;
}

static void test_reload_opens_nothing_unchanged(void **state)
{
    for (int i = 0; i < 20; i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/c%d.yaml", i);
        write_text(path, i == 7 ? ALL "batch_size: 1\n" : ALL);
    }
    usleep(SETTLED_US);
    char opened[64];
    _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
    assert_int_equal(utimensat(AT_FDCWD, "etc/pipelines.d/c5.yaml", NULL, 0), 0);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *touched = load_watched(first, opened);
    assert_string_equal(opened, "c5.yaml");
    _cleanup_(config_set_freep) ConfigSet *second = load_watched(touched, opened);
    assert_string_equal(opened, "");
    assert_int_equal(second->connection_count, 20);
    for (size_t i = 0; i < 20; i++)
        assert_ptr_equal(first->connections[i], second->connections[i]);
    expect_said(second, "c7.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction");
    /* a connection outlives the set that it came from */
    ConnectionConfig *kept = connection_config_ref(second->connections[3]);
    first = config_set_free(first);
    second = config_set_free(second);
    assert_string_equal(kept->name, "c11");
    connection_config_free(kept);
}

static void test_reload_sees_changes(void **state)
{
    write_text("etc/pipelines.d/a.yaml", ALL);
    write_text("etc/pipelines.d/b.yaml", ALL);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
    write_text("etc/pipelines.d/a.yaml", ALL "paused: true\n");
    write_text("etc/pipelines.d/b.yaml", ALL "# the same in other words\n");
    _cleanup_(config_set_freep) ConfigSet *second = load_all(first);
    assert_ptr_not_equal(first->connections[0], second->connections[0]);
    assert_true(second->connections[0]->paused);
    assert_ptr_equal(first->connections[1], second->connections[1]);
    /* the same size, at once, with the modification time put back: the change time tells */
    struct stat before;
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *third = load_all(second);
    assert_int_equal(stat("etc/pipelines.d/a.yaml", &before), 0);
    write_text("etc/pipelines.d/a.yaml", ALL "paused: fals\n");
    assert_int_equal(
        utimensat(AT_FDCWD, "etc/pipelines.d/a.yaml", (struct timespec[]){ before.st_atim, before.st_mtim }, 0), 0);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *fourth = load_all(third);
    expect_said(fourth, "a.yaml:7:9: \"paused\" must be true or false, not \"fals\"");
    /* new defaults concern everybody */
    write_text("etc/wherry.yaml", "defaults: {log_level: debug}\n");
    _cleanup_(config_set_freep) ConfigSet *fifth = load_all(fourth);
    assert_int_equal(config_set_find(fifth, "b")->log_level, LOG_DEBUG);
}

/* Two edits within one tick of the kernel's clock leave the same times behind. */
static void test_reload_sees_quick_changes(void **state)
{
    for (int i = 0; i < 100; i++) {
        write_text("etc/pipelines.d/a.yaml", ALL "retry_cap: 1\n");
        _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
        write_text("etc/pipelines.d/a.yaml", ALL "retry_cap: 2\n");
        _cleanup_(config_set_freep) ConfigSet *second = load_all(first);
        assert_int_equal(second->connections[0]->retry_cap, 2);
    }
}

static bool same_sets(const ConfigSet *a, const ConfigSet *b)
{
    bool same = a->connection_count == b->connection_count && a->problem_count == b->problem_count &&
                a->warning_count == b->warning_count;
    for (size_t i = 0; same && i < a->connection_count; i++)
        same = strcmp(a->connections[i]->name, b->connections[i]->name) == 0 &&
               strcmp(a->connections[i]->json, b->connections[i]->json) == 0;
    for (size_t i = 0; same && i < a->problem_count; i++)
        same = strcmp(a->problems[i].message, b->problems[i].message) == 0;
    for (size_t i = 0; same && i < a->warning_count; i++)
        same = strcmp(a->warnings[i], b->warnings[i]) == 0;
    return same;
}

/* Whatever is done to the files, a reload comes to what a fresh start would. */
static void test_reload_property(void **state)
{
    static const char *const contents[] = { ALL, ALL "paused: true\n", ALL "batch_size: 1\n", ALL "zzzz: 1\n",
                                            "[", ALL "retry_cap: 1\n", ALL "retry_cap: 2\n" };
    unsigned seed = 20240229;
    _cleanup_(config_set_freep) ConfigSet *current = load_all(NULL);
    for (int step = 0; step < 300; step++) {
        for (int edits = rand_r(&seed) % 4; edits > 0; edits--) {
            char path[64], other[64];
            snprintf(path, sizeof(path), "etc/pipelines.d/c%d.yaml", rand_r(&seed) % 6);
            snprintf(other, sizeof(other), "etc/pipelines.d/c%d.yaml", rand_r(&seed) % 6);
            switch (rand_r(&seed) % 4) {
            case 0:
                unlink(path);
                break;
            case 1:
                rename(path, other);
                break;
            default:
                write_text(path, contents[(size_t)rand_r(&seed) % ELEMENTSOF(contents)]);
            }
        }
        if (rand_r(&seed) % 20 == 0)
            write_text("etc/wherry.yaml", rand_r(&seed) % 2 ? "defaults: {max_value_size: 1M}\n" : "# none\n");
        if (rand_r(&seed) % 10 == 0)
            usleep(SETTLED_US);
        ConfigSet *next = load_all(current);
        _cleanup_(config_set_freep) ConfigSet *fresh = load_all(NULL);
        assert_true(same_sets(next, fresh));
        config_set_free(current);
        current = next;
    }
}

/* --- what a sync gets --- */

static void test_resolve_parts(void **state)
{
    write_text("etc/pipelines.d/one.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", true, mask, &worker, &writer, &error), 0);
    _cleanup_(freep) char *to_worker = json_dumps(worker, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *worker_text = relative(to_worker), *writer_text = relative(to_writer);
    assert_string_equal(
        writer_text,
        "{\"commit_interval\":1,\"connection\":\"one\",\"dest_table\":\"t\",\"destination\":{\"busy_"
        "timeout\":60,\"path\":\"@/etc/pipelines.d/x.db\",\"type\":\"sqlite\"},\"files\":true,\"full\":"
        "true,\"log_table\":false,\"max_value_size\":16777216,\"run_id\":\"run-1\",\"sandbox\":{\"mode\":\"default\"},"
        "\"write_mode\":\"append\"}");
    assert_string_equal(
        worker_text,
        "{\"columns\":[{\"dest\":\"a\",\"required\":true,\"source\":\"a\",\"type\":\"string\"}],"
        "\"commit_interval\":1,\"connection\":\"one\",\"csv\":{\"delimiter\":\",\",\"empty\":\"null\","
        "\"header\":true,\"quote\":\"\\\"\"},\"dest_table\":\"t\",\"encoding\":\"utf-8\",\"format\":"
        "\"csv\",\"frequency\":900,\"full\":true,\"log_level\":\"info\",\"log_table\":false,\"max_value_size\":"
        "16777216,"
        "\"paused\":false,\"retry_cap\":3,\"run_id\":\"run-1\",\"sandbox\":{\"mode\":\"default\"},"
        "\"source\":{\"dir\":\"@/etc/pipelines.d/in\",\"file_pattern\":\"*\",\"type\":\"files\","
        "\"watch\":false},\"source_manifest\":\"optional\",\"stall_timeout\":1800,\"write_mode\":\"append\"}");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* No key of a files source or a SQLite destination takes a secret: connections made by hand here. */
/* A source of operations: what its program and its writer are told; and defaults that are meant for others. */
static void test_operations(void **state)
{
    mkdir("etc", 0700);
    mkdir("etc/pipelines.d", 0700);
    write_text("etc/wherry.yaml", "defaults: {retry_cap: 7, history: true, frequency: 1h}\n");
    write_text("emit.yaml", "source: {type: exec, command: [./emit.py, ./x], configuration: {city: Oslo, n: 3}}\n"
                            "destination: {type: sqlite, path: x.db}\nnaming: source\n");
    write_text("orders.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *files = load_file("orders.yaml", NULL);
    _cleanup_(freep) char *said = said_of_set(files);
    assert_string_equal(said, "");
    _cleanup_(config_set_freep) ConfigSet *set = load_file("emit.yaml", NULL);
    remove("etc/wherry.yaml");
    assert_int_equal(set->connection_count, 1);
    assert_false(set->connections[0]->local);
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", true, mask, &worker, &writer, NULL), 0);
    _cleanup_(freep) char *to_worker = json_dumps(worker, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *shown_worker = relative(to_worker);
    _cleanup_(freep) char *shown_writer = relative(to_writer);
    assert_non_null(strstr(shown_worker,
                           "\"source\":{\"command\":[\"@/./emit.py\",\"./x\"],\"configuration\":{\"city\":"
                           "\"Oslo\",\"n\":3},\"folder\":\"@\",\"type\":\"exec\"}"));
    assert_non_null(strstr(shown_worker, "\"naming\":\"source\""));
    assert_null(strstr(shown_worker, "retry_cap"));
    assert_string_equal(
        shown_writer,
        "{\"commit_interval\":1,\"connection\":\"emit\",\"destination\":{\"busy_timeout\":60,\"path\":"
        "\"@/x.db\",\"type\":\"sqlite\"},\"files\":false,\"full\":true,\"history\":true,"
        "\"log_table\":false,\"max_value_size\":16777216,\"on_schema_change\":\"allow_all\",\"run_id\":\"run-1\","
        "\"sandbox\":{\"mode\":\"default\"},\"strip_nul\":false}");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* Where a url has its password, as libpq reads it; what is not found is neither masked nor warned of. */
static void test_secret_in_url(void **state)
{
    (void)state;
    static const struct {
        const char *url, *password; /* NULL: none */
    } cases[] = {
        { "postgresql://me:secret@h/d", "secret" },
        { "postgresql://me:se@cret@h/d", "se@cret" },
        { "postgresql://me:se?cr#et@h/d", "se?cr#et" },
        { "https://me:secret@h/d?at=a:b@c", "secret" },
        { "https://h:8086?at=a:b@c", NULL },
        { "postgresql://me@h:5432/d?user=a:b@c", NULL },
        { "postgresql:///d?user=me&password=sec#ret&port=1", "sec#ret" },
        { "postgresql:///d?mypassword=x", NULL },
        { "host=h password=se&c#ret dbname=d", "se&c#ret" },
        { "host=h password = secret dbname=d", "secret" },
        { "password='se cr\\'et' dbname=d", "se cr\\'et" },
        { "password='' dbname=d", NULL },
        { "host=password", NULL },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        size_t n = 0;
        const char *found = secret_in_url(cases[i].url, &n);
        _cleanup_(freep) char *password = found ? xstrndup(found, n) : NULL;
        assert_string_equal(password ? password : "none", cases[i].password ? cases[i].password : "none");
    }
}

static void assert_object(const char *content, const char *expected)
{
    write_text("values.json", content);
    ConnectionConfig config = { .name = (char *)"one",
                                .source = "fancy",
                                .json = (char *)"{\"source\": {\"configuration\": {\"$secret\": {\"kind\": \"json\", "
                                                "\"name\": \"values.json\"}}}}" };
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker = NULL, *writer = NULL;
    if (config_resolve(&config, "run-1", false, mask, &worker, &writer, &error) < 0) {
        assert_string_equal(error.message, expected);
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
    } else {
        json_t *values = json_object_get(json_object_get(worker, "source"), "configuration");
        _cleanup_(freep) char *text = json_dumps(values, JSON_COMPACT), *masked = mask_apply(mask, text, strlen(text));
        assert_string_equal(masked ? masked : text, expected);
    }
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

static void test_resolve_objects(void **state)
{
    assert_object("{\"key\": \"is-secret\", \"n\": \"1\"}\n", "{\"key\":\"****\",\"n\":\"1\"}");
    assert_object("{}", "{}");
    assert_object("[]", "the secret \"!json values.json\" is not a JSON object");
    assert_object("{\n \"key\": \"is-secret\",}", "the secret \"!json values.json\" is not JSON: line 2, column 21");
    assert_object("", "the secret \"!json values.json\" is not JSON: line 1, column 0");
}

static void test_resolve_secrets(void **state)
{
    write_text("password", "from a file\n");
    mkdir("credentials", 0700);
    write_text("credentials/token", "from systemd\r\n");
    setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
    setenv("WHERRY_TEST_SECRET", "from the environment", 1);
    ConnectionConfig config = {
        .name = (char *)"one",
        .source = "fancy",
        .json = (char *)"{\"name\": \"one\", \"source\": {\"key\": {\"$secret\": {\"kind\": \"env\", \"name\": "
                        "\"WHERRY_TEST_SECRET\"}}, \"list\": [1, {\"$secret\": {\"kind\": \"file\", \"name\": "
                        "\"password\"}}]}, \"destination\": {\"token\": {\"$secret\": {\"kind\": \"credential\", "
                        "\"name\": \"token\"}}, \"url\": \"db://me:pass%40word@host/x\"}}"
    };
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(&config, "run-1", false, mask, &worker, &writer, &error), 0);
    _cleanup_(freep) char *to_worker = json_dumps(json_object_get(worker, "source"), JSON_COMPACT);
    _cleanup_(freep) char *to_writer = json_dumps(json_object_get(writer, "destination"), JSON_COMPACT);
    assert_string_equal(to_worker, "{\"key\":\"from the environment\",\"list\":[1,\"from a file\"]}");
    assert_string_equal(to_writer, "{\"token\":\"from systemd\",\"url\":\"db://me:pass%40word@host/x\"}");
    assert_null(json_object_get(worker, "destination"));
    assert_null(json_object_get(writer, "source"));
    static const char text[] = "from the environment, from a file, from systemd, pass%40word and pass@word";
    _cleanup_(freep) char *masked = mask_apply(mask, text, strlen(text));
    assert_string_equal(masked, "****, ****, ****, **** and ****");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* A reference in a file, all the way to the worker. */
static void test_secret_of_a_file(void **state)
{
    setenv("WHERRY_TEST_PATTERN", "*.secret", 1);
    write_text("etc/pipelines.d/one.yaml", FREQUENCY FORMAT TABLE COLUMNS DESTINATION
               "source: {type: files, dir: in, file_pattern: !env WHERRY_TEST_PATTERN}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    assert_null(strstr(set->connections[0]->json, "*.secret"));
    Mask *mask = mask_new();
    _cleanup_(error_clear) Error error = { 0 };
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", false, mask, &worker, &writer, &error), 0);
    const json_t *pattern = json_object_get(json_object_get(worker, "source"), "file_pattern");
    assert_string_equal(json_string_value(pattern), "*.secret");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* --- keys of protected columns --- */

#define KEY_COLUMNS(what, reference)                                                          \
    FREQUENCY SOURCE FORMAT TABLE DESTINATION "columns:\n  - {source: a, type: string, " what \
                                              ": {algorithm: " reference "}}\n"
#define KEY_TEXT "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" /* 0123456789abcdef, twice */

/* What the worker gets as the key, or the error. The caller frees. */
static char *resolve_key(const char *pipeline, Mask *mask)
{
    write_text("etc/pipelines.d/one.yaml", pipeline);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    assert_null(strstr(set->connections[0]->json, "0123456789abcdef"));
    assert_null(strstr(set->connections[0]->json, KEY_TEXT));
    _cleanup_(error_clear) Error error = { 0 };
    json_t *worker, *writer;
    if (config_resolve(set->connections[0], "run-1", false, mask, &worker, &writer, &error) < 0) {
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
        return error_format(&error);
    }
    const json_t *column = json_array_get(json_object_get(worker, "columns"), 0);
    const json_t *protection = json_object_get(column, json_object_get(column, "hash") ? "hash" : "encrypt");
    char *key = xstrdup(json_string_value(json_object_get(protection, "key")));
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT);
    assert_null(strstr(to_writer, key));
    json_decref(worker);
    json_decref(writer);
    return key;
}

static void test_keys_of_columns(void **state)
{
    write_text("raw", "0123456789abcdef0123456789abcdef\n");
    write_bytes("binary", "\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\n\n", 33);
    write_text("base64", KEY_TEXT "\n");
    write_text("short", "too short\n");
    mkdir("credentials", 0700);
    write_text("credentials/data", "0123456789abcdef0123456789abcdef");
    setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
    setenv("WHERRY_TEST_KEY", KEY_TEXT, 1);
    setenv("WHERRY_TEST_NOT_BASE64", "not base64 at all, but long enough to be a key", 1);
    setenv("WHERRY_TEST_SHORT", "c2hvcnQ=", 1);
    setenv("WHERRY_TEST_EMPTY", "", 1);
    unsetenv("WHERRY_TEST_NONE");
    static const struct {
        const char *pipeline, *expected;
    } cases[] = {
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_KEY"), KEY_TEXT },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !env WHERRY_TEST_KEY"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../raw"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !credential data"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../binary"),
          "AAECAwQFBgcAAQIDBAUGBwABAgMEBQYHAAECAwQFBgo=" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !file ../../base64"),
          "TURFeU16UTFOamM0T1dGaVkyUmxaakF4TWpNME5UWTNPRGxoWW1Oa1pXWT0=" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../base64"),
          "one.yaml:7:70: the key \"!file @/etc/pipelines.d/../../base64\" has 44 bytes; it must have exactly 32, as "
          "they are: a file's "
          "content is not taken for base64" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: secrets:/none/there"),
          "one.yaml:7:67: cannot read the secret \"secrets:/none/there\": no such file or directory" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !file ../../short"),
          "one.yaml:7:67: the key \"!file @/etc/pipelines.d/../../short\" has 9 bytes; it must have at least 32, as "
          "they are: a file's content "
          "is not taken for base64" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_NONE"),
          "one.yaml:7:70: the key \"env:WHERRY_TEST_NONE\" is not set in wherryd's environment" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_NOT_BASE64"),
          "one.yaml:7:70: the key \"env:WHERRY_TEST_NOT_BASE64\" is not base64 text; \"openssl rand -base64 32\" makes "
          "one" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !env WHERRY_TEST_SHORT"),
          "one.yaml:7:70: the key \"!env WHERRY_TEST_SHORT\" has 5 bytes; it must have exactly 32" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: env:WHERRY_TEST_EMPTY"),
          "one.yaml:7:67: the key \"env:WHERRY_TEST_EMPTY\" has 0 bytes; it must have at least 32" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Mask *mask = mask_new();
        _cleanup_(freep) char *got = resolve_key(cases[i].pipeline, mask);
        _cleanup_(freep) char *shown = relative(got);
        assert_string_equal(shown, cases[i].expected);
        mask_free(mask);
    }
}

/* As it was given, as the worker gets it, and in hexadecimal. */
static void test_keys_are_masked(void **state)
{
    setenv("WHERRY_TEST_KEY", KEY_TEXT, 1);
    Mask *mask = mask_new();
    free(resolve_key(KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_KEY"), mask));
    static const char text[] = "a " KEY_TEXT " b 0123456789abcdef0123456789abcdef c "
                               "3031323334353637383961626364656630313233343536373839616263646566";
    _cleanup_(freep) char *masked = mask_apply(mask, text, strlen(text));
    assert_string_equal(masked, "a **** b **** c ****");
    mask_free(mask);
}

static void test_missing_secrets(void **state)
{
    write_text("empty", "\n");
    write_bytes("nul", "sec\0ret-value", 13);
    write_text("latin", "s\xe9"
                        "cret-value");
    _cleanup_(freep) char *large = xmalloc(SECRET_BYTES_MAX + 2);
    memset(large, 'x', SECRET_BYTES_MAX + 1);
    write_bytes("large", large, SECRET_BYTES_MAX + 1);
    mkdir("folder", 0700);
    mkfifo("pipe", 0600);
    unsetenv("CREDENTIALS_DIRECTORY");
    setenv("WHERRY_TEST_EMPTY", "", 1);
    static const struct {
        const char *kind, *name, *said;
    } cases[] = {
        { "env", "WHERRY_TEST_NONE", "the secret \"!env WHERRY_TEST_NONE\" is not set in wherryd's environment" },
        { "env", "WHERRY_TEST_EMPTY", "the secret \"!env WHERRY_TEST_EMPTY\" is empty" },
        { "file", "none", "cannot read the secret \"!file none\": no such file or directory" },
        { "file", "empty", "the secret \"!file empty\" is empty" },
        { "file", "nul", "the secret \"!file nul\" holds a NUL byte" },
        { "file", "latin", "the secret \"!file latin\" is not UTF-8 text" },
        { "file", "large", "the secret \"!file large\" is larger than 64 KiB" },
        { "file", "folder", "the secret \"!file folder\" is not a regular file" },
        { "file", "pipe", "the secret \"!file pipe\" is not a regular file" },
        { "credential", "key",
          "the secret \"!credential key\" needs systemd: add \"LoadCredential=key:/path/to/it\" to wherryd.service" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        json_t *value = json_pack("{s:{s:{s:s,s:s}}}", "a", "$secret", "kind", cases[i].kind, "name", cases[i].name);
        Mask *mask = mask_new();
        _cleanup_(error_clear) Error error = { 0 };
        assert_int_equal(secret_resolve(value, mask, &error), -1);
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
        assert_string_equal(error.message, cases[i].said);
        json_decref(value);
        mask_free(mask);
    }
}

/* --- check --- */

static void expect_checked(const char *const *files, size_t n, int status, const char *expected)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int r = config_check("etc", "state", files, n, out);
    fclose(out);
    _cleanup_(freep) char *said = relative(text);
    free(text);
    assert_string_equal(said, expected);
    assert_int_equal(r, status);
}

static void test_check(void **state)
{
    expect_checked(NULL, 0, 0, "0 connections\n");
    write_text("etc/pipelines.d/one.yaml", ALL);
    expect_checked(NULL, 0, 0, "1 connection, all good\n");
    write_text("etc/pipelines.d/two.yaml", ALL "batch_size: 1\n");
    expect_checked(NULL, 0, 0,
                   "two.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                   "2 connections, all good, 1 warning\n");
    write_text("etc/pipelines.d/six.yaml", ALL "zzzz\n");
    expect_checked(NULL, 0, 2,
                   "six.yaml:7:1: not valid YAML: invalid value after mapping\n"
                   "two.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                   "3 connections, 2 good, 1 broken, 1 warning\n");
    expect_checked((const char *const[]){ "etc/pipelines.d/one.yaml", "etc/pipelines.d/six.yaml" }, 2, 2,
                   "etc/pipelines.d/six.yaml:7:1: not valid YAML: invalid value after mapping\n"
                   "2 connections, 1 good, 1 broken\n");
    write_text("My.yml", ALL);
    expect_checked((const char *const[]){ "My.yml" }, 1, 0,
                   "My.yml: warning: in pipelines.d the file must be called NAME.yaml, NAME of a-z, 0-9 and _\n"
                   "1 connection, all good, 1 warning\n");
    write_text("etc/wherry.yaml", "max_syncs: many\n");
    expect_checked(NULL, 0, 2,
                   "wherry.yaml:1:12: \"max_syncs\" must be a whole number from 1 to 10000, not \"many\"\n");
}

/* --- what lies in etc/ --- */

static void test_schema_is_current(void **state)
{
    json_t *stored = json_load_file(ETC_DIR "/pipeline.schema.json", 0, NULL), *made = config_schema();
    assert_non_null(stored);
    if (!json_equal(stored, made))
        fail_msg("etc/pipeline.schema.json is not what the key tables say: "
                 "run \"wherryd --schema >etc/pipeline.schema.json\"");
    json_decref(stored);
    json_decref(made);
}

static void test_examples(void **state)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load(ETC_DIR, "state", NULL, &set, &error), 0);
    expect_said(set, "");
    assert_true(set->connection_count >= 3);
    config_set_free(set);
}

/* The comments of etc/wherry.yaml show the defaults that are built in. */
static void test_example_defaults(void **state)
{
    FILE *example = fopen(ETC_DIR "/wherry.yaml", "re"), *active = fopen("etc/wherry.yaml", "we");
    assert_non_null(example);
    assert_non_null(active);
    char line[256];
    while (fgets(line, sizeof(line), example)) {
        bool setting = line[0] == '#' && ((line[1] >= 'a' && line[1] <= 'z') || strncmp(line + 1, "  ", 2) == 0);
        fputs(line + setting, active);
    }
    fclose(example);
    fclose(active);
    write_text("etc/pipelines.d/one.yaml", SOURCE FORMAT TABLE COLUMNS "destination: warehouse\n");
    _cleanup_(config_set_freep) ConfigSet *shown = load_all(NULL);
    expect_said(shown, "");
    assert_int_equal(json_object_size(shown->daemon.defaults), 11);
    assert_int_equal(unlink("etc/wherry.yaml"), 0);
    write_text("etc/pipelines.d/one.yaml",
               SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: "
                                           "/var/lib/wherry/warehouse.db, journal_mode: wal}\n");
    _cleanup_(config_set_freep) ConfigSet *built_in = load_all(NULL);
    expect_said(built_in, "");
    json_t *a = json_of(shown, "one"), *b = json_of(built_in, "one");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

#define in_pipelines(function) cmocka_unit_test_setup_teardown(function, enter_pipelines, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_pipelines(test_whole_form),
        in_pipelines(test_values),
        in_pipelines(test_harmless_keys_warn),
        in_pipelines(test_identity),
        in_pipelines(test_daemon_settings),
        in_pipelines(test_named_destination),
        in_pipelines(test_defaults),
        in_pipelines(test_bad_daemon_file),
        in_pipelines(test_folders),
        in_pipelines(test_file_names),
        in_pipelines(test_one_file),
        in_pipelines(test_lent_dir),
        in_pipelines(test_many_files),
        in_pipelines(test_reload_opens_nothing_unchanged),
        in_pipelines(test_reload_sees_changes),
        in_pipelines(test_reload_sees_quick_changes),
        in_pipelines(test_reload_property),
        in_pipelines(test_resolve_parts),
        in_pipelines(test_operations),
        in_pipelines(test_resolve_secrets),
        in_pipelines(test_resolve_objects),
        cmocka_unit_test(test_secret_in_url),
        in_pipelines(test_secret_of_a_file),
        in_pipelines(test_keys_of_columns),
        in_pipelines(test_keys_are_masked),
        in_pipelines(test_missing_secrets),
        in_pipelines(test_check),
        in_pipelines(test_schema_is_current),
        in_pipelines(test_examples),
        in_pipelines(test_example_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
