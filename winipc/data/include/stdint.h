/* What the standard headers declare, as far as shared structures use it: facts of the
   Windows ABI, for Layout.from_c where no SDK is. */
#pragma once
#ifndef __cplusplus
typedef unsigned short wchar_t;
#define bool _Bool
#define true 1
#define false 0
#define static_assert _Static_assert
#define alignas _Alignas
typedef unsigned short char16_t;
typedef unsigned int char32_t;
#endif
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef signed char int_least8_t;
typedef unsigned char uint_least8_t;
typedef short int_least16_t;
typedef unsigned short uint_least16_t;
typedef int int_least32_t;
typedef unsigned int uint_least32_t;
typedef long long int_least64_t;
typedef unsigned long long uint_least64_t;
typedef signed char int_fast8_t;
typedef unsigned char uint_fast8_t;
typedef int int_fast16_t;
typedef unsigned int uint_fast16_t;
typedef int int_fast32_t;
typedef unsigned int uint_fast32_t;
typedef long long int_fast64_t;
typedef unsigned long long uint_fast64_t;
typedef long long intmax_t;
typedef unsigned long long uintmax_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __SIZE_TYPE__ size_t;
typedef __INTPTR_TYPE__ ssize_t;
typedef long long __time64_t;
typedef long __time32_t;
typedef long long time_t;
typedef long clock_t;
typedef unsigned short wint_t;
typedef char *va_list;
struct tm { int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst; };
struct timespec { long long tv_sec; long tv_nsec; };
#define NULL 0
#define offsetof(type, member) __builtin_offsetof(type, member)
#define CHAR_BIT 8
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define UINT_MAX 4294967295u
#define LONG_MAX 2147483647L
#define ULONG_MAX 4294967295ul
#define LLONG_MAX 9223372036854775807ll
#define ULLONG_MAX 18446744073709551615ull
#define INT8_MAX 127
#define UINT8_MAX 255
#define INT16_MAX 32767
#define UINT16_MAX 65535
#define INT32_MAX 2147483647
#define UINT32_MAX 4294967295u
#define INT64_MAX 9223372036854775807ll
#define UINT64_MAX 18446744073709551615ull
#define FLT_MAX 3.402823466e+38F
#define DBL_MAX 1.7976931348623158e+308
#define _MAX_PATH 260
#define _MAX_DRIVE 3
#define _MAX_DIR 256
#define _MAX_FNAME 256
#define _MAX_EXT 256
#ifdef __cplusplus
/* Also within another namespace, in which all this may be. */
namespace std {
typedef int8_t int8_t;
typedef uint8_t uint8_t;
typedef int16_t int16_t;
typedef uint16_t uint16_t;
typedef int32_t int32_t;
typedef uint32_t uint32_t;
typedef int64_t int64_t;
typedef uint64_t uint64_t;
typedef int_least8_t int_least8_t;
typedef uint_least8_t uint_least8_t;
typedef int_least16_t int_least16_t;
typedef uint_least16_t uint_least16_t;
typedef int_least32_t int_least32_t;
typedef uint_least32_t uint_least32_t;
typedef int_least64_t int_least64_t;
typedef uint_least64_t uint_least64_t;
typedef int_fast8_t int_fast8_t;
typedef uint_fast8_t uint_fast8_t;
typedef int_fast16_t int_fast16_t;
typedef uint_fast16_t uint_fast16_t;
typedef int_fast32_t int_fast32_t;
typedef uint_fast32_t uint_fast32_t;
typedef int_fast64_t int_fast64_t;
typedef uint_fast64_t uint_fast64_t;
typedef intmax_t intmax_t;
typedef uintmax_t uintmax_t;
typedef intptr_t intptr_t;
typedef uintptr_t uintptr_t;
typedef ptrdiff_t ptrdiff_t;
typedef size_t size_t;
typedef time_t time_t;
typedef clock_t clock_t;
typedef wint_t wint_t;
enum class byte : unsigned char {};
template <class T, size_t N> struct array { T elements[N]; };
/* As large as T, and aligned so; larger ones have a lock beside them. */
template <class T> struct atomic { alignas(sizeof(T) > 8 ? 3 : sizeof(T)) T value; };
template <class T, class U> struct pair { T first; U second; };
}
#endif
