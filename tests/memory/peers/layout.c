/* layout.c: where a C compiler puts the fields of test_layout.py's struct. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <windows.h>

struct reading {
    uint8_t kind;
    unsigned long long when;
    char name[12];
    float values[3][2];
    POINT where;
    short a, b[2];
    void *cookie;
    const wchar_t *text;
    size_t length;
    bool good;
};

#define TELL(field)                                                           \
    printf(#field " %d\n", (int)offsetof(struct reading, field))

int
main(void)
{
    TELL(kind);
    TELL(when);
    TELL(name);
    TELL(values);
    TELL(where);
    TELL(a);
    TELL(b);
    TELL(cookie);
    TELL(text);
    TELL(length);
    TELL(good);
    printf("sizeof %d\nend\n", (int)sizeof(struct reading));
    return 0;
}
