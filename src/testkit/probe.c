/* The program in our test images. Static, so that the image needs nothing else.
 *   probe serve PORT   answers each HTTP request with the text in /version
 *   probe eat MIB      takes that much memory, then waits
 *   probe say WORD...  prints its words, one a line
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int serve(int port) {
    char version[64] = "", request[4096], answer[256];
    FILE *file = fopen("/version", "r");
    if (file) {
        size_t got = fread(version, 1, sizeof version - 1, file);
        version[got] = 0;
        fclose(file);
    }
    int on = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 64)) {
        perror("probe: cannot listen");
        return 1;
    }
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             strlen(version), version);
    for (;;) {
        int guest = accept(door, NULL, NULL);
        if (guest < 0) continue;
        if (read(guest, request, sizeof request) > 0 && write(guest, answer, strlen(answer)) < 0) perror("probe");
        close(guest);
    }
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 3 && !strcmp(words[1], "serve")) return serve(atoi(words[2]));
    if (count == 3 && !strcmp(words[1], "eat")) {
        for (int mib = atoi(words[2]); mib > 0; mib--) {
            char *part = malloc(1 << 20);
            if (!part) return 2;
            memset(part, mib, 1 << 20);
        }
        for (;;) pause();
    }
    if (count >= 2 && !strcmp(words[1], "say")) {
        for (int word = 2; word < count; word++) puts(words[word]);
        return 0;
    }
    fprintf(stderr, "probe: serve PORT, eat MIB or say WORD...\n");
    return 64;
}
