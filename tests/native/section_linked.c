/* A plain C program linked against the import library that dlltool makes of
 * a built DLL's .def. It prints what is in the shared variables, changes them,
 * and ends when a line comes in. */
#include <windows.h>

#include <stdio.h>
#include <string.h>

__declspec(dllimport) extern char MySharedData[];
__declspec(dllimport) extern volatile LONG counter;

int
main(void)
{
    char line[16];
    puts(MySharedData);
    strcpy(MySharedData, "linked");
    InterlockedExchangeAdd(&counter, 40);
    puts("changed");
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) == NULL;
}
