/* tests/runtime/test_torture_arith.h: computations in every kind of register, flags, control words and
 * string instructions. What each must give was computed on a plain thread before the storm. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <immintrin.h>

enum { ARITH_SEEDS = 8, ARITH_STEPS = 3000 };

/* Its array fits the red zone; a leaf does not move the stack pointer. */
static __attribute__((noinline)) uint64_t in_red_zone(uint64_t x)
{
    volatile uint64_t keep[14];
    for (int i = 0; i < 14; i++)
        keep[i] = x + (uint64_t)i;
    for (int i = 0; i < ARITH_STEPS; i++)
        keep[i % 14] = keep[(i + 5) % 14] * 6364136223846793005u + (uint64_t)i;
    uint64_t h = 0;
    for (int i = 0; i < 14; i++)
        h = h * 31 + keep[i];
    return h;
}

/* Carries go from one addition to the next in the flags. */
static __attribute__((noinline)) uint64_t in_flags(uint64_t x)
{
    uint64_t a = x, b = ~x * 3, c = x ^ 0x5555, d = 1;
    for (int i = 0; i < ARITH_STEPS; i++)
        __asm__ volatile("add %[x], %[a]\n\t"
                         "adc %[a], %[b]\n\t"
                         "adc %[b], %[c]\n\t"
                         "adc %[c], %[d]\n\t"
                         "rcl $7, %[a]\n\t"
                         "sbb %[d], %[c]\n\t"
                         : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d)
                         : [x] "r"(x)
                         : "cc");
    return a ^ b * 3 ^ c * 5 ^ d * 7;
}

/* Eight values deep in the x87 stack. */
static __attribute__((noinline)) uint64_t in_x87(uint64_t x)
{
    long double v = (long double)(x & 0xffff) + 1, s = 0.5L, c = 0.25L;
    for (int i = 1; i < ARITH_STEPS / 4; i++) {
        __asm__ volatile("fsincos" : "=t"(c), "=u"(s) : "0"(v));
        v = v * 1.0000001L + s / (long double)i + c * 0.125L;
        if (v > 1e9L)
            v *= 1e-6L;
    }
    return (uint64_t)(v * 1e6L + 1e12L);
}

static __attribute__((noinline)) uint64_t in_sse(uint64_t x)
{
    double a = (double)(x & 0xfff), b = 1.5, c = 0.25, d = 3.0;
    __m128i crc = _mm_set1_epi32((int)x);
    for (int i = 1; i < ARITH_STEPS; i++) {
        a = a * 1.0000001 + b / (double)i;
        b = b + c * 0.001;
        c = c * 0.9999 + d * 1e-6;
        d = d + a * 1e-9;
        crc = _mm_add_epi32(_mm_shuffle_epi32(crc, 0x39), _mm_set1_epi32(i));
    }
    uint64_t bits;
    double sum = a + b + c + d;
    memcpy(&bits, &sum, sizeof(bits));
    return bits ^ (uint64_t)_mm_cvtsi128_si64(crc);
}

/* Rounding downward in SSE, 53 bits upward in x87: control words of this computation alone, while
 * others go on with the usual ones on the same thread. */
static __attribute__((noinline)) uint64_t in_control_words(uint64_t x)
{
    unsigned mxcsr = _mm_getcsr();
    uint16_t fpu, fpu_here = 0x0a7f;
    __asm__ volatile("fnstcw %0" : "=m"(fpu));
    _mm_setcsr((mxcsr & ~0x6000u) | 0x2000u);
    __asm__ volatile("fldcw %0" ::"m"(fpu_here));
    volatile double sum = (double)(x & 0xff);
    volatile long double other = 1;
    for (int i = 1; i < ARITH_STEPS / 2; i++) {
        sum = sum + 1.0 / (double)i;
        other = other + 1.0L / (long double)i;
    }
    __asm__ volatile("fldcw %0" ::"m"(fpu));
    _mm_setcsr(mxcsr);
    uint64_t bits;
    double copy = sum;
    memcpy(&bits, &copy, sizeof(bits));
    return bits ^ (uint64_t)(other * 1e15L);
}

/* String instructions are stopped in the middle, forward and backward. */
static __attribute__((noinline)) uint64_t in_strings(uint64_t x)
{
    static const size_t len = 1500;
    uint8_t from[1500], to[1500];
    for (size_t i = 0; i < len; i++)
        from[i] = (uint8_t)(x >> (i % 50));
    for (int i = 0; i < 20; i++) {
        void *d = to, *s = from;
        size_t n = len;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
        d = from + len - 1;
        s = to + len - 1;
        n = len - 1;
        __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(d), "+S"(s), "+c"(n)::"memory", "cc");
        from[0] = (uint8_t)(from[1] + i);
    }
    uint64_t h = 0;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + to[i];
    return h;
}

__attribute__((noinline, target("avx2,fma"))) static uint64_t in_avx(uint64_t x)
{
    __m256i a = _mm256_set1_epi64x((long long)x), b = _mm256_set_epi64x(1, 2, 3, 4);
    __m256d f[6];
    for (int k = 0; k < 6; k++)
        f[k] = _mm256_set1_pd(1.0 + k + (double)(x & 0xff));
    for (int i = 0; i < ARITH_STEPS / 2; i++) {
        a = _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_slli_epi64(a, 3));
        b = _mm256_xor_si256(b, _mm256_srli_epi64(a, 5));
        for (int k = 0; k < 6; k++)
            f[k] = _mm256_fmadd_pd(f[k], _mm256_set1_pd(0.999), f[(k + 1) % 6]);
        for (int k = 0; k < 6; k++)
            f[k] = _mm256_mul_pd(f[k], _mm256_set1_pd(0.5));
    }
    uint64_t out[4];
    for (int k = 0; k < 6; k++)
        a = _mm256_xor_si256(a, _mm256_castpd_si256(f[k]));
    _mm256_storeu_si256((__m256i *)out, _mm256_xor_si256(a, b));
    return out[0] ^ out[1] * 3 ^ out[2] * 5 ^ out[3] * 7;
}

__attribute__((noinline, target("avx512f,avx512dq"))) static uint64_t in_avx512(uint64_t x)
{
    __m512i a = _mm512_set1_epi64((long long)x), b = _mm512_set_epi64(1, 2, 3, 4, 5, 6, 7, 8);
    __mmask8 kept = (__mmask8)x;
    for (int i = 0; i < ARITH_STEPS; i++) {
        __mmask8 m = _mm512_cmpgt_epu64_mask(a, b);
        a = _mm512_mask_add_epi64(_mm512_mullo_epi64(a, b), m, a, b);
        b = _mm512_rol_epi64(_mm512_xor_si512(b, a), 7);
        kept = (__mmask8)(kept * 3 + m);
    }
    uint64_t out[8], sum = kept;
    _mm512_storeu_si512(out, _mm512_xor_si512(a, _mm512_rol_epi64(b, 32)));
    for (int i = 0; i < 8; i++)
        sum = sum * 31 + out[i];
    return sum;
}

static struct arith {
    const char *where;
    uint64_t (*compute)(uint64_t x);
    bool usable; // by this CPU
    uint64_t want[ARITH_SEEDS];
} ariths[] = {
    {"the red zone", in_red_zone, true, {0}},       {"the flags", in_flags, true, {0}},
    {"x87 registers", in_x87, true, {0}},           {"SSE registers", in_sse, true, {0}},
    {"control words", in_control_words, true, {0}}, {"string instructions", in_strings, true, {0}},
    {"AVX registers", in_avx, false, {0}},          {"AVX-512 registers", in_avx512, false, {0}},
};
enum { ARITHS = sizeof(ariths) / sizeof(ariths[0]) };

static uint64_t arith_seed(int i) { return 0x9e3779b97f4a7c15u * (uint64_t)(i + 1); }

/* On a plain thread, where nobody interrupts. */
static void arith_expect(void)
{
    __builtin_cpu_init();
    ariths[ARITHS - 2].usable = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    ariths[ARITHS - 1].usable =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    for (int i = 0; i < ARITHS; i++)
        for (int k = 0; k < ARITH_SEEDS && ariths[i].usable; k++)
            ariths[i].want[k] = ariths[i].compute(arith_seed(k));
}

/* The control words of a goroutine that asks for it are its own across a switch, too. */
static bool control_words_stay(struct tortured *t)
{
    rt_keep_fpu_control();
    unsigned mxcsr = _mm_getcsr(), mxcsr_here = mxcsr ^ 0x6000u;
    uint16_t fpu, fpu_here = 0x0a7f, fpu_after;
    __asm__ volatile("fnstcw %0" : "=m"(fpu));
    _mm_setcsr(mxcsr_here);
    __asm__ volatile("fldcw %0" ::"m"(fpu_here));
    rt_yield();
    stroll(t);
    unsigned mxcsr_after = _mm_getcsr();
    __asm__ volatile("fnstcw %0" : "=m"(fpu_after));
    __asm__ volatile("fldcw %0" ::"m"(fpu));
    _mm_setcsr(mxcsr);
    if ((mxcsr & ~0x3fu) != 0x1f80u) // the low bits say what has happened so far
        return torture_wrong(t, "MXCSR is %x", mxcsr);
    if (((mxcsr_after ^ mxcsr_here) & ~0x3fu) != 0 || fpu_after != fpu_here || fpu != 0x037f)
        return torture_wrong(t, "control words became %x and %x", mxcsr_after, fpu_after);
    return true;
}

static bool arith_round(struct tortured *t)
{
    const struct arith *a = &ariths[draw_below(t, ARITHS)];
    int seed = (int)draw_below(t, ARITH_SEEDS);
    if (!a->usable)
        return true;
    if (draw_below(t, 4) == 0 && !control_words_stay(t))
        return false;
    uint64_t got = a->compute(arith_seed(seed));
    if (got != a->want[seed])
        return torture_wrong(t, "a computation in %s gave %lx, not %lx", a->where,
                             (unsigned long)got, (unsigned long)a->want[seed]);
    return true;
}

static const struct work arith_works[] = {{"arithmetic", 8, NULL, arith_round, NULL, NULL}};
