/* A plain C program that uses a shared section by LoadLibrary: argument 1 is
 * the DLL, which exports char MySharedData[4096] and LONG counter. Commands come
 * line by line: "text" prints what is there, "reply" writes, "count" adds 1 a
 * hundred thousand times. */
#include <windows.h>

#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
    char line[64];
    HMODULE module = argc > 1 ? LoadLibraryA(argv[1]) : NULL;
    if (module == NULL) {
        fprintf(stderr, "LoadLibrary: %lu\n", GetLastError());
        return 1;
    }
    char *shared = (char *)(ULONG_PTR)GetProcAddress(module, "MySharedData");
    volatile LONG *counter =
        (volatile LONG *)(ULONG_PTR)GetProcAddress(module, "counter");
    if (shared == NULL || counter == NULL) {
        fprintf(stderr, "GetProcAddress: %lu\n", GetLastError());
        return 1;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strncmp(line, "text", 4) == 0) {
            puts(shared);
        }
        else if (strncmp(line, "reply", 5) == 0) {
            strcpy(shared, "from C");
            puts("done");
        }
        else {
            for (int i = 0; i < 100000; i++) {
                InterlockedIncrement(counter);
            }
            puts("done");
        }
        fflush(stdout);
    }
    FreeLibrary(module);
    return 0;
}
