/*
 * shared_section.dll: one variable that every process which loads this file
 * shares.
 *
 * A PE section marked IMAGE_SCN_MEM_SHARED is mapped once for all processes,
 * not copied on write for each. So MySharedData is the same 4096 bytes in all
 * that load this very file (a copy of the file is another section), from the
 * first load until the last process lets go; then it starts anew, as zeros.
 * winipc.SharedSection loads it and finds the variable by its export, which
 * shared_section.def marks as DATA. There is no Python in here and no C
 * runtime, so the DLL loads anywhere and runs no code worth mentioning.
 *
 * Security: a shared section has no name to guard and no access rights. Whoever
 * may read this file may load it, and then read and write the variable, in any
 * session and at any integrity level. Treat what is in it as coming from a
 * stranger, keep secrets out of it, and never put a pointer there: the section
 * may be mapped at another address in each process.
 *
 * Compilers mark the section in different ways, and a linker may drop the mark
 * in silence, which leaves a private variable. setup.py checks the built file.
 */

#include <windows.h>

/* Without an initialiser MSVC would put the variable in .bss instead. */
#if defined(_MSC_VER)
#pragma section(".MYSEC", read, write, shared)
/* For clang-cl, which knows the pragma but not its "shared". */
#pragma comment(linker, "/SECTION:.MYSEC,RWS")
__declspec(allocate(".MYSEC")) char MySharedData[4096] = {0};
#elif defined(__clang__)
/* clang ignores the attribute; the first declaration in a section sets its
 * flags. */
__asm__(".section .MYSEC,\"dws\"\n.text\n");
__attribute__((section(".MYSEC"))) char MySharedData[4096] = {0};
#else
__attribute__((section(".MYSEC"), shared)) char MySharedData[4096] = {0};
#endif

BOOL WINAPI
DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    (void)instance;
    (void)reason;
    (void)reserved;
    return TRUE;
}
