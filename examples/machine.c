/* machine.c: the machine, which keeps its state in the mapping that machine.py made.
 *
 *     x86_64-w64-mingw32-gcc -std=c11 -I../include machine.c -o machine.exe
 *     cl /std:c11 /I..\include machine.c
 *
 *     python machine.py --program machine.exe
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "machine.h"
#include "winipc.h"

/* machine.exe NAME-OF-THE-MAPPING CYCLES */
int
main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    HANDLE section =
        OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, argv[1]);
    char *base =
        section == NULL
            ? NULL
            : MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    MEMORY_BASIC_INFORMATION info;
    if (base == NULL || VirtualQuery(base, &info, sizeof(info)) == 0) {
        fprintf(stderr, "mapping: error %lu\n", GetLastError());
        return 1;
    }
    winipc_mapping_header header;
    memcpy(&header, base, sizeof(header));
    const char *fault = winipc_mapping_header_fault(&header, info.RegionSize);
    if (fault == NULL && header.size != sizeof(struct machine)) {
        fault = "another structure than that of machine.h";
    }
    if (fault != NULL) {
        fprintf(stderr, "%s\n", fault);
        return 1;
    }

    struct machine *machine = (struct machine *)(base + header.header_size);
    machine->mode = MACHINE_RUNNING;
    strncpy(machine->program, "bracket.nc", sizeof(machine->program) - 1);
    for (int cycle = 0; cycle < atoi(argv[2]); cycle++) {
        for (int i = 0; i < MACHINE_AXES; i++) {
            struct axis *axis = &machine->axes[i];
            axis->position += 0.5 * (i + 1);
            axis->load = 0.25f;
            axis->homed = 1;
            axis->tool = (uint32_t)(10 + i);
        }
        InterlockedIncrement64((volatile LONG64 *)&machine->cycles);
    }
    printf("%lld cycles for %ls\n", (long long)machine->cycles, machine->user);
    UnmapViewOfFile(base);
    CloseHandle(section);
    return 0;
}
