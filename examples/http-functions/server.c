/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server that runs each request in a clean sandbox.
 *
 *     http-functions [--guest FILE] [--port N] [--threads N] [--mode MODE]
 *                    [--isolation vm|process|best]
 *
 * Prints its address, and serves until its standard input ends. README.md has
 * the modes.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner.h"

/* As much as a guest takes: the exchange has 1 MiB for path and body. */
#define BODY_MAX ((size_t)1000000)

/* ---- A connection ------------------------------------------------------ */

/* A request that comes in, in pieces. */
struct incoming {
    unsigned char *body;
    size_t size, room;
    bool too_large;
};

static bool take_piece(struct incoming *in, const char *piece, size_t size)
{
    if (size > BODY_MAX - in->size) {
        in->too_large = true;
        return true; /* the rest is dropped */
    }
    if (size > in->room - in->size) {
        size_t room = 2 * (in->size + size);
        unsigned char *body = realloc(in->body, room);

        if (!body)
            return false;
        in->body = body;
        in->room = room;
    }
    memcpy(in->body + in->size, piece, size);
    in->size += size;
    return true;
}

struct sending {
    struct MHD_Connection *connection;
    enum MHD_Result result;
};

static void send_answer(void *user, unsigned status, const char *text,
                        size_t size)
{
    struct sending *sending = user;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        size, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);

    if (!response)
        return;
    MHD_add_response_header(response, "Content-Type", "text/plain");
    sending->result = MHD_queue_response(sending->connection, status, response);
    MHD_destroy_response(response);
}

/* Called once with the headers, for each piece of the body, and at the end. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection,
                              const char *path, const char *method,
                              const char *version, const char *piece,
                              size_t *size, void **state)
{
    struct sending sending = { connection, MHD_NO };
    struct incoming *in = *state;

    (void)method;
    (void)version;
    if (!in) {
        *state = calloc(1, sizeof *in);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*size) {
        bool taken = take_piece(in, piece, *size);

        *size = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (in->too_large) {
        send_answer(&sending, 413, "too large\n", 10);
    } else {
        const struct request request = { path, in->body, in->size };

        runner_run(user, &request, send_answer, &sending);
    }
    return sending.result;
}

static void forget(void *user, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode why)
{
    struct incoming *in = *state;

    (void)user;
    (void)connection;
    (void)why;
    if (in)
        free(in->body);
    free(in);
}

/* ---- The server -------------------------------------------------------- */

static struct MHD_Daemon *start(struct runner *runner, unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    /* With one thread there is no pool of them. */
    struct MHD_OptionItem threads[] = {
        { MHD_OPTION_THREAD_POOL_SIZE, runner->opts.threads, NULL },
        { MHD_OPTION_END, 0, NULL },
    };

    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        handle, runner, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_NOTIFY_COMPLETED, forget, NULL, MHD_OPTION_ARRAY,
        threads + (runner->opts.threads == 1), MHD_OPTION_END);
}

static int serve(struct runner *runner, unsigned port)
{
    struct MHD_Daemon *daemon = start(runner, port);
    char buffer[64];

    if (!daemon) {
        fprintf(stderr, "cannot serve on port %u\n", port);
        return EXIT_FAILURE;
    }
    printf(
        "http://127.0.0.1:%u/ %s\n",
        (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port,
        mode_names[runner->opts.mode]);
    fflush(stdout);
    while (read(STDIN_FILENO, buffer, sizeof buffer) > 0)
        ;
    MHD_stop_daemon(daemon);
    return EXIT_SUCCESS;
}

/* ---- Options ----------------------------------------------------------- */

/* A word's place in a list, or its length. */
static unsigned find(const char *word, const char *const *words, unsigned count)
{
    unsigned i = 0;

    while (i < count && strcmp(words[i], word) != 0)
        i++;
    return i;
}

static bool take_option(struct runner_opts *opts, unsigned *port, int option)
{
    static const char *const isolations[] = {
        [KAON_ISOLATION_VM] = "vm",
        [KAON_ISOLATION_PROCESS] = "process",
        [KAON_ISOLATION_BEST] = "best",
    };

    switch (option) {
    case 'g': opts->guest = optarg; return true;
    case 'p': *port = (unsigned)strtoul(optarg, NULL, 10) & 0xffff; return true;
    case 't':
        opts->threads = (unsigned)strtoul(optarg, NULL, 10);
        return opts->threads >= 1 && opts->threads <= 256;
    case 'm':
        opts->mode = (enum mode)find(optarg, mode_names, MODES);
        return opts->mode < MODES;
    case 'i':
        opts->isolation = (enum kaon_isolation)find(optarg, isolations, 3);
        return opts->isolation <= KAON_ISOLATION_BEST;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "guest", required_argument, NULL, 'g' },
        { "port", required_argument, NULL, 'p' },
        { "threads", required_argument, NULL, 't' },
        { "mode", required_argument, NULL, 'm' },
        { "isolation", required_argument, NULL, 'i' },
        { 0 },
    };
    struct runner_opts opts = {
        .guest = "http-functions.elf",
        .threads = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
    };
    struct runner runner;
    unsigned port = 0;
    int option, result;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take_option(&opts, &port, option)) {
            fprintf(stderr, "usage: see the top of server.c\n");
            return 2;
        }
    if (!runner_open(&runner, &opts))
        return EXIT_FAILURE;
    result = serve(&runner, port);
    runner_close(&runner);
    return result;
}
