#include "textflag.h"

// The kernels keep in registers: Y0-Y3 sums and Y4-Y7 sums of squares of
// (x - shift), four lanes each; Y8, Y9 minima and Y10, Y11 maxima, eight lanes
// each; Y12 the shift. They differ in how eight elements become float32.

#define PROLOGUE \
	MOVQ src+0(FP), SI; \
	MOVQ n+8(FP), CX; \
	VBROADCASTSD shift+16(FP), Y12; \
	MOVQ out+24(FP), DI; \
	VMOVUPD (DI), Y0; \
	VMOVUPD 32(DI), Y1; \
	VMOVUPD 64(DI), Y2; \
	VMOVUPD 96(DI), Y3; \
	VMOVUPD 128(DI), Y4; \
	VMOVUPD 160(DI), Y5; \
	VMOVUPD 192(DI), Y6; \
	VMOVUPD 224(DI), Y7; \
	VMOVUPS 256(DI), Y8; \
	VMOVUPS 288(DI), Y9; \
	VMOVUPS 320(DI), Y10; \
	VMOVUPS 352(DI), Y11

#define EPILOGUE \
	VMOVUPD Y0, (DI); \
	VMOVUPD Y1, 32(DI); \
	VMOVUPD Y2, 64(DI); \
	VMOVUPD Y3, 96(DI); \
	VMOVUPD Y4, 128(DI); \
	VMOVUPD Y5, 160(DI); \
	VMOVUPD Y6, 192(DI); \
	VMOVUPD Y7, 224(DI); \
	VMOVUPS Y8, 256(DI); \
	VMOVUPS Y9, 288(DI); \
	VMOVUPS Y10, 320(DI); \
	VMOVUPS Y11, 352(DI); \
	VZEROUPPER; \
	RET

// ADD8 adds the eight float32 in Y13.
#define ADD8(lo, hi, sa, sb, qa, qb) \
	VMINPS Y13, lo, lo; \
	VMAXPS Y13, hi, hi; \
	VCVTPS2PD X13, Y14; \
	VEXTRACTF128 $1, Y13, X15; \
	VCVTPS2PD X15, Y15; \
	VSUBPD Y12, Y14, Y14; \
	VSUBPD Y12, Y15, Y15; \
	VADDPD Y14, sa, sa; \
	VADDPD Y15, sb, sb; \
	VFMADD231PD Y14, Y14, qa; \
	VFMADD231PD Y15, Y15, qb

// func addF32(src *byte, n int, shift float64, out *lanes)
TEXT ·addF32(SB), NOSPLIT, $0-32
	PROLOGUE

f32:
	VMOVUPS (SI), Y13
	ADD8(Y8, Y10, Y0, Y1, Y4, Y5)
	VMOVUPS 32(SI), Y13
	ADD8(Y9, Y11, Y2, Y3, Y6, Y7)
	ADDQ $64, SI
	SUBQ $16, CX
	JNE  f32
	EPILOGUE

// func addBF16(src *byte, n int, shift float64, out *lanes)
TEXT ·addBF16(SB), NOSPLIT, $0-32
	PROLOGUE

bf16:
	VPMOVZXWD (SI), Y13
	VPSLLD $16, Y13, Y13
	ADD8(Y8, Y10, Y0, Y1, Y4, Y5)
	VPMOVZXWD 16(SI), Y13
	VPSLLD $16, Y13, Y13
	ADD8(Y9, Y11, Y2, Y3, Y6, Y7)
	ADDQ $32, SI
	SUBQ $16, CX
	JNE  bf16
	EPILOGUE

// func addF16(src *byte, n int, shift float64, out *lanes)
TEXT ·addF16(SB), NOSPLIT, $0-32
	PROLOGUE

f16:
	VCVTPH2PS (SI), Y13
	ADD8(Y8, Y10, Y0, Y1, Y4, Y5)
	VCVTPH2PS 16(SI), Y13
	ADD8(Y9, Y11, Y2, Y3, Y6, Y7)
	ADDQ $32, SI
	SUBQ $16, CX
	JNE  f16
	EPILOGUE
