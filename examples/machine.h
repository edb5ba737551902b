/* machine.h: the state of a machine, as machine.c, machine.py and machine.ipynb share it.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>
#include <wchar.h>

#define MACHINE_AXES 3

enum machine_mode { MACHINE_IDLE, MACHINE_RUNNING, MACHINE_FAULT };

struct axis {
    double position; /* mm */
    float load;      /* 0 to 1 */
    uint32_t homed : 1;
    uint32_t tool : 7;
};

struct machine {
    int64_t cycles;
    enum machine_mode mode;
    char program[24]; /* UTF-8 */
    wchar_t user[16];
    struct axis axes[MACHINE_AXES];
};

#endif
