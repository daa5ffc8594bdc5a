// What a proxy costs that does nothing: four system calls for each request, and not a byte looked at. It shows what the
// kernel takes of every proxy's time, here and now; see docs/internals/hot-path.md.
//
//   gcc -O2 -o bare bench/bare.c
//   taskset -c 0 ./bare LISTEN ORIGIN N      two ports, and how many connections are kept to the origin
//
// The origin listens on every address (127.1.0.1 and on are used, one for each connection) and is pinned to another core, as
// is `wrk -t1 -c64 http://127.0.0.1:LISTEN/`; keep-alive, one request at a time. N must exceed the clients. Its CPU time is
// the first number of /proc/PID/schedstat, in nanoseconds, before and after.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
static int pair[MOST];     // whom a connection's next bytes are for; -1: nobody
static char is_origin[MOST];
static char bytes[32768];

static void watch(int epoll, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    pair[fd] = -1;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "bare LISTEN ORIGIN N\n"), 2;
    int count = atoi(argv[3]), epoll = epoll_create1(0), on = 1;
    int *origins = calloc(count, sizeof *origins);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
        to.sin_addr.s_addr = htonl(127u << 24 | 1 << 16 | (i / 250) << 8 | (1 + i % 250));
        int fd = origins[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || fd >= MOST || connect(fd, (struct sockaddr *)&to, sizeof to)) return perror("origin"), 1;
        is_origin[fd] = 1;
        watch(epoll, fd, EPOLLIN | EPOLLET);
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) return perror("listen"), 1;
    watch(epoll, listener, EPOLLIN);
    struct epoll_event events[512];
    for (unsigned turn = 0;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd, client;
            if (fd == listener) {
                while ((client = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) watch(epoll, client, EPOLLIN | EPOLLET);
                continue;
            }
            ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (got <= 0) {
                if ((got == 0 || errno != EAGAIN) && !is_origin[fd]) close(fd);
                continue;
            }
            int to = pair[fd];
            pair[fd] = -1;
            if (!is_origin[fd]) {
                do to = origins[turn++ % count];
                while (pair[to] >= 0);
                pair[to] = fd;
            }
            if (to >= 0) send(to, bytes, got, MSG_NOSIGNAL);
        }
    }
}
