/* lacking.h: what Wine's headers lack of the Windows SDK's and of MSVC's, for
 * ./dev lint, which compiles the branches of _MSC_VER by clang. */
#include <windows.h>

#define LIST_MODULES_32BIT 1
#define LIST_MODULES_ALL 3
BOOL WINAPI CallbackMayRunLong(PTP_CALLBACK_INSTANCE instance);
SIZE_T WINAPI GetLargePageMinimum(void);
BOOL WINAPI IsThreadAFiber(void);
#ifdef __cplusplus
extern "C"
#endif
void *__cdecl _exception_info(void);
#define GetExceptionInformation() ((EXCEPTION_POINTERS *)_exception_info())

#ifdef _M_ARM64
unsigned __int64 __ldar64(unsigned __int64 volatile *target);
void __stlr64(unsigned __int64 volatile *target, unsigned __int64 value);
#endif
