/* Which sockets a hostile program tries to make, and whom it tries to reach. */
#include "tests/integration/sandbox-attempts.h"

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PROTOCOL_MPTCP 262

static int try_socket(int family, int type, int protocol)
{
    return opened(socket(family, type, protocol));
}

ATTEMPT(socket_inet)
{
    return try_socket(AF_INET, SOCK_STREAM, 0);
}
ATTEMPT(socket_inet6)
{
    return try_socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
}
ATTEMPT(socket_udp)
{
    return try_socket(AF_INET, SOCK_DGRAM, 0);
}
ATTEMPT(socket_mptcp)
{
    return try_socket(AF_INET, SOCK_STREAM, PROTOCOL_MPTCP);
}
ATTEMPT(socket_raw)
{
    return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
ATTEMPT(socket_ping)
{
    return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}
ATTEMPT(socket_netlink)
{
    return try_socket(AF_NETLINK, SOCK_RAW, 0);
}
ATTEMPT(socket_packet)
{
    return try_socket(AF_PACKET, SOCK_RAW, 0);
}
ATTEMPT(socket_vsock)
{
    return try_socket(AF_VSOCK, SOCK_STREAM, 0);
}
ATTEMPT(socket_crypto)
{
    return try_socket(AF_ALG, SOCK_SEQPACKET, 0);
}
ATTEMPT(socket_unix)
{
    return try_socket(AF_UNIX, SOCK_STREAM, 0);
}
ATTEMPT(socket_unix_datagram)
{
    return try_socket(AF_UNIX, SOCK_DGRAM, 0);
}
/* The type's upper bits are flags: they must not hide another type. */
ATTEMPT(socket_unix_flags)
{
    return try_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int connect_unix(const struct sockaddr_un *address, socklen_t length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int r = result(connect(fd, (const struct sockaddr *)address, length));
    close(fd);
    return r;
}

ATTEMPT(connect_control_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", target->socket);
    return connect_unix(&address, sizeof address);
}
ATTEMPT(connect_abstract_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(target->abstract);
    memcpy(address.sun_path + 1, target->abstract, length);
    return connect_unix(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
}
/* A datagram socketpair may send to any socket's path: the journal's, the service manager's. */
ATTEMPT(datagram_to_path)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) < 0)
        return errno;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", target->datagram);
    return result(sendto(fds[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}

static struct sockaddr_in loopback(const Target *target)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)target->port),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

ATTEMPT(connect_port)
{
    struct sockaddr_in address = loopback(target);
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(connect(fd, (struct sockaddr *)&address, sizeof address));
}
ATTEMPT(connect_port_fastopen)
{
    struct sockaddr_in address = loopback(target);
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}
ATTEMPT(connect_port_fastopen_message)
{
    struct sockaddr_in address = loopback(target);
    char byte = 0;
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1 };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendmsg(fd, &message, MSG_FASTOPEN));
}
ATTEMPT(connect_port_fastopen_messages)
{
    struct sockaddr_in address = loopback(target);
    char byte = 0;
    struct iovec data = { &byte, 1 };
    struct mmsghdr message = {
        .msg_hdr = { .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1 }
    };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendmmsg(fd, &message, 1, MSG_FASTOPEN));
}
/* What is kept from fast open must not keep from sending at all. */
ATTEMPT(send_fastopen_on_pair)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return errno;
    return result(send(fds[0], "x", 1, MSG_FASTOPEN));
}
ATTEMPT(listen)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return errno;
    return result(listen(fd, 1));
}
/* Without bind() the kernel picks the port, and Landlock sees nothing. */
ATTEMPT(listen_without_bind)
{
    int fd = tcp_socket();
    return fd < 0 ? errno : result(listen(fd, 1));
}

const Attempt socket_attempts[] = {
    LISTED(socket_inet),
    LISTED(socket_inet6),
    LISTED(socket_udp),
    LISTED(socket_mptcp),
    LISTED(socket_raw),
    LISTED(socket_ping),
    LISTED(socket_netlink),
    LISTED(socket_packet),
    LISTED(socket_vsock),
    LISTED(socket_crypto),
    LISTED(socket_unix),
    LISTED(socket_unix_datagram),
    LISTED(socket_unix_flags),
    LISTED(connect_control_socket),
    LISTED(connect_abstract_socket),
    LISTED(datagram_to_path),
    LISTED(connect_port),
    LISTED(connect_port_fastopen),
    LISTED(connect_port_fastopen_message),
    LISTED(connect_port_fastopen_messages),
    LISTED(send_fastopen_on_pair),
    LISTED(listen),
    LISTED(listen_without_bind),
    { NULL },
};
