#include "textflag.h"

// The numbers of exp32 in fast.go, in the order of the registers Y4 to Y15.
DATA expNumbers<>+0(SB)/4, $0xc2ae0000  // −87
DATA expNumbers<>+4(SB)/4, $0x42ae0000  // 87
DATA expNumbers<>+8(SB)/4, $0x3fb8aa3b  // 1/ln 2
DATA expNumbers<>+12(SB)/4, $0x4b400000 // shifter
DATA expNumbers<>+16(SB)/4, $0x3f318000 // ln 2, upper bits
DATA expNumbers<>+20(SB)/4, $0xb95e8083 // ln 2, the rest
DATA expNumbers<>+24(SB)/4, $0x3f800000 // 1
DATA expNumbers<>+28(SB)/4, $0x3efffffe // the polynomial: 0.49999993 …
DATA expNumbers<>+32(SB)/4, $0x3e2aaa49
DATA expNumbers<>+36(SB)/4, $0x3d2aac79
DATA expNumbers<>+40(SB)/4, $0x3c091cea
DATA expNumbers<>+44(SB)/4, $0x3ab5121b // … 0.00138146
DATA expNumbers<>+48(SB)/4, $127
GLOBL expNumbers<>(SB), RODATA|NOPTR, $52

// func expAVX2(x, y *float32, n int)
//
// y = e^x for n elements, a multiple of 8; x is clamped to ±87, NaN stays NaN.
TEXT ·expAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ y+8(FP), DI
	MOVQ n+16(FP), CX
	VBROADCASTSS expNumbers<>+0(SB), Y4
	VBROADCASTSS expNumbers<>+4(SB), Y5
	VBROADCASTSS expNumbers<>+8(SB), Y6
	VBROADCASTSS expNumbers<>+12(SB), Y7
	VBROADCASTSS expNumbers<>+16(SB), Y8
	VBROADCASTSS expNumbers<>+20(SB), Y9
	VBROADCASTSS expNumbers<>+24(SB), Y10
	VBROADCASTSS expNumbers<>+28(SB), Y11
	VBROADCASTSS expNumbers<>+32(SB), Y12
	VBROADCASTSS expNumbers<>+36(SB), Y13
	VBROADCASTSS expNumbers<>+40(SB), Y14
	VBROADCASTSS expNumbers<>+44(SB), Y15

loop:
	CMPQ CX, $8
	JL   done
	VMOVUPS (SI), Y0
	VMAXPS Y0, Y4, Y0       // the second operand survives a NaN
	VMINPS Y0, Y5, Y0
	VMOVAPS Y7, Y1
	VFMADD231PS Y6, Y0, Y1  // n + shifter
	VSUBPS Y7, Y1, Y2       // n
	VFNMADD231PS Y8, Y2, Y0
	VFNMADD231PS Y9, Y2, Y0 // r
	VMOVAPS Y15, Y3
	VFMADD213PS Y14, Y0, Y3
	VFMADD213PS Y13, Y0, Y3
	VFMADD213PS Y12, Y0, Y3
	VFMADD213PS Y11, Y0, Y3
	VFMADD213PS Y10, Y0, Y3
	VFMADD213PS Y10, Y0, Y3
	VBROADCASTSS expNumbers<>+48(SB), Y2
	VPADDD Y2, Y1, Y1
	VPSLLD $23, Y1, Y1
	VMULPS Y1, Y3, Y3
	VMOVUPS Y3, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JMP  loop

done:
	VZEROUPPER
	RET
