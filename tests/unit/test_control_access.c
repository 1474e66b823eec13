/* Who is let in: the control socket itself, its mode and group, one handed over by systemd, other users, and syncs. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/control-fixture.h"

static void test_own_syncs_are_refused(void **state)
{
    Fixture *f = *state;
    manager.refuse_pid = true;
    Client client = client_new(f);
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}");
    expect_closed(f, &client);
    assert_int_equal(manager.syncs, 0);
    assert_non_null(strstr(last_log, "no sync may steer the daemon"));
}

static void test_others_are_refused(void **state)
{
    Fixture *f = *state;
    struct stat status;
    if (geteuid() != 0)
        skip();

    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_gid, WHERRY_GID);
    assert_int_equal(chmod(f->dir, 0755), 0);
    assert_int_equal(chmod(f->path, 0666), 0); /* were it not for its mode */
    Client client = client_of(f, 65534, 65534, 65534);
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.NotAllowed\",\"parameters\":{\"group\":\"wherry\"}}");
    expect_closed(f, &client);
    assert_int_equal(manager.syncs, 0);
    assert_non_null(strstr(last_log, "user 65534"));

    /* members of the group are not, whether it is their first or another one */
    client = client_of(f, 65534, WHERRY_GID, 65534);
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
    client = client_of(f, 65534, 65534, WHERRY_GID);
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
}

static void refused_socket(Fixture *f, const char *runtime_dir, const char *part)
{
    Control *control = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(control_new(&f->loop, &manager, runtime_dir, -1, &control, &error), -1);
    _cleanup_(freep) char *text = error_format(&error);
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
    turn(f);
}

static void test_the_socket_itself(void **state)
{
    Fixture *f = *state;
    struct stat status;
    Control *second = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(freep) char *run = xasprintf("%s/run", f->dir), *other = xasprintf("%s/other", f->dir),
                          *path = xasprintf("%s/other/org.wherry.Manager", f->dir);
    char long_dir[200];

    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    assert_int_equal(stat(run, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    refused_socket(f, run, "another wherryd listens on");

    /* a stale socket is replaced */
    assert_int_equal(mkdir(other, 0755), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(control_new(&f->loop, &manager, other, -1, &second, &error), 0);
    close(connect_to(path));
    turn(f);

    /* a successor's socket is not taken from it */
    assert_int_equal(unlink(path), 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    control_free(second);
    turn(f);
    assert_int_equal(access(path, F_OK), 0);
    refused_socket(f, other, "is in the way of the control socket and not a socket: remove it");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(other), 0);

    memset(long_dir, 'd', sizeof(long_dir) - 1);
    long_dir[0] = '/';
    long_dir[sizeof(long_dir) - 1] = '\0';
    refused_socket(f, long_dir, "is longer than 107 bytes: choose a shorter --runtime-dir");

    /* the first one's manager subscription was replaced by the second's: take it back for the teardown */
    manager.listener = NULL;
}

static void test_handed_over_socket(void **state)
{
    Fixture *f = *state;
    Control *control = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/handed", f->dir);

    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), -1);
    close(fd);
    error_clear(&error);
    turn(f);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), -1);
    _cleanup_(freep) char *text = error_format(&error);
    assert_non_null(strstr(text, "is not a listening Unix socket"));
    error_clear(&error);
    turn(f);

    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), 0);
    Client client = { .fd = connect_to(address.sun_path) };
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
    control_free(control);
    turn(f);
    assert_int_equal(unlink(address.sun_path), 0); /* still there: it is systemd's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        control_test(test_own_syncs_are_refused),
        control_test(test_others_are_refused),
        control_test(test_the_socket_itself),
        control_test(test_handed_over_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
