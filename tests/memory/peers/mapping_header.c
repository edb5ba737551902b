/* mapping_header.c: the mapping header of include/winipc.h, from C.
 *
 *   mapping_header open <name>          prints what the header says, then the
 *                                       bytes as text, and answers in place
 *   mapping_header create <name> <size> makes one, prints "ready", waits for a
 *                                       line, and prints the bytes as text
 *   mapping_header owner <name>         what a server such as Pageant does: it
 *                                       takes the request only when the
 *                                       mapping belongs to its own user
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

#include "winipc.h"

static int
fail(const char *what)
{
    printf("%s: error %lu\n", what, GetLastError());
    fflush(stdout);
    return 1;
}

static size_t
mapped_bytes(const void *base)
{
    MEMORY_BASIC_INFORMATION info;
    return VirtualQuery(base, &info, sizeof(info)) ? info.RegionSize : 0;
}

static int
open_one(const char *name)
{
    HANDLE section =
        OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, name);
    if (section == NULL) {
        return fail("OpenFileMapping");
    }
    char *base =
        MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    if (base == NULL) {
        return fail("MapViewOfFile");
    }
    size_t mapped = mapped_bytes(base);
    winipc_mapping_header header;
    memset(&header, 0, sizeof(header));
    memcpy(&header, base, mapped < sizeof(header) ? mapped : sizeof(header));
    const char *fault = winipc_mapping_header_fault(&header, mapped);
    if (fault != NULL) {
        printf("refused: %s\n", fault);
        return 0;
    }
    char *bytes = base + header.header_size;
    printf("version %u size %llu pid %lu\n", header.version,
           (unsigned long long)header.size, (unsigned long)header.owner_pid);
    printf("%.*s\n", (int)header.size, bytes);
    bytes[header.size - 1] = 'C';
    UnmapViewOfFile(base);
    CloseHandle(section);
    return 0;
}

static int
create_one(const char *name, size_t size)
{
    winipc_mapping_header header;
    HANDLE section =
        CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0,
                           (DWORD)(size + sizeof(header)), name);
    if (section == NULL) {
        return fail("CreateFileMapping");
    }
    char *base =
        MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    if (base == NULL) {
        return fail("MapViewOfFile");
    }
    memset(&header, 0, sizeof(header));
    header.version = WINIPC_MAPPING_VERSION;
    header.header_size = sizeof(header);
    header.size = size;
    header.owner_pid = GetCurrentProcessId();
    memcpy(base, &header, sizeof(header));
    InterlockedExchange((volatile LONG *)base, (LONG)WINIPC_MAPPING_MAGIC);
    printf("ready\n");
    fflush(stdout);
    getchar();
    printf("%.*s\n", (int)size, base + sizeof(header));
    fflush(stdout);
    return 0;
}

static int
check_owner(const char *name)
{
    union {
        SECURITY_DESCRIPTOR descriptor;
        char room[1024];
    } security;
    union {
        TOKEN_USER user;
        char room[256];
    } token_user;
    PSID owner = NULL;
    BOOL defaulted;
    DWORD size;
    HANDLE token;
    /* Reading who owns it needs READ_CONTROL, and so does the real server. */
    HANDLE section =
        OpenFileMappingA(FILE_MAP_ALL_ACCESS | READ_CONTROL, FALSE, name);
    if (section == NULL) {
        return fail("OpenFileMapping");
    }
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) ||
        !GetTokenInformation(token, TokenUser, &token_user, sizeof(token_user),
                             &size)) {
        return fail("GetTokenInformation");
    }
    if (!GetKernelObjectSecurity(section, OWNER_SECURITY_INFORMATION,
                                 &security, sizeof(security), &size) ||
        !GetSecurityDescriptorOwner(&security, &owner, &defaulted)) {
        return fail("GetKernelObjectSecurity");
    }
    if (owner == NULL || !EqualSid(owner, token_user.user.User.Sid)) {
        printf("refused\n");
        return 0;
    }
    char *base = MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 0);
    if (base == NULL) {
        return fail("MapViewOfFile");
    }
    memcpy(base, "answer", 6);
    printf("taken\n");
    UnmapViewOfFile(base);
    CloseHandle(section);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "open") == 0) {
        return open_one(argv[2]);
    }
    if (argc == 4 && strcmp(argv[1], "create") == 0) {
        return create_one(argv[2], (size_t)atoi(argv[3]));
    }
    if (argc == 3 && strcmp(argv[1], "owner") == 0) {
        return check_owner(argv[2]);
    }
    fprintf(stderr, "usage: mapping_header open|create|owner <name> ...\n");
    return 2;
}
