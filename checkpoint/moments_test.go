package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// tensorOf returns a tensor of the given values, in memory.
func tensorOf[T float](t testing.TB, values []T) Tensor {
	t.Helper()
	n := Named{Name: "w", Shape: []int{len(values)}}
	switch v := any(values).(type) {
	case []float32:
		n.F32 = v
	case []float64:
		n.F64 = v
	}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := WriteSafetensors(path, []Named{n}, nil); err != nil {
		t.Fatal(err)
	}
	return open(t, path).Tensors[0]
}

func TestMoments(t *testing.T) {
	const n = 300_001
	rng := rand.New(rand.NewPCG(1, 1))
	tests := []struct {
		name    string
		draw    func() float64
		entropy float64
	}{
		{"normal", func() float64 { return 1e-3 * rng.NormFloat64() }, 0.5*math.Log(2*math.Pi*math.E) + math.Log(1e-3)},
		{"offset", func() float64 { return 1000 + rng.NormFloat64() }, math.NaN()}, // narrower than the resolution
		{"shifted", func() float64 { return 3 + rng.NormFloat64() }, 0.5 * math.Log(2*math.Pi*math.E)},
		{"uniform", func() float64 { return 0.7 * (2*rng.Float64() - 1) }, math.Log(1.4)},
		{"exponential", rng.ExpFloat64, 1},
		{"laplace", func() float64 { return rng.ExpFloat64() * float64(1-2*rng.IntN(2)) }, 1 + math.Ln2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			double, single := make([]float64, n), make([]float32, n)
			low, high := math.Inf(1), math.Inf(-1)
			var mean float64
			for i := range double {
				single[i] = float32(tt.draw())
				double[i] = float64(single[i])
				mean += double[i] / n
				low, high = min(low, double[i]), max(high, double[i])
			}
			var variance, square float64
			for _, x := range double {
				variance += (x - mean) * (x - mean) / n
				square += x * x / n
			}
			for _, tensor := range []Tensor{tensorOf(t, double), tensorOf(t, single)} {
				m, err := tensor.Moments(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				near := func(what string, got, want, tolerance float64) {
					if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
						t.Errorf("%s: %s = %v, want %v", tensor.DType, what, got, want)
					}
				}
				near("variance", m.Variance, variance, 1e-9)
				near("RMS", m.RMS, math.Sqrt(square), 1e-9)
				near("min", m.Min, low, 0)
				near("max", m.Max, high, 0)
				if m.N != n || math.Abs(m.Mean-mean) > 1e-9*math.Sqrt(square) {
					t.Errorf("N = %d, mean %v, want %v", m.N, m.Mean, mean)
				}
				// The spread of an entropy estimate is about 1/sqrt(n).
				if !math.IsNaN(tt.entropy) && math.Abs(m.Entropy-tt.entropy) > 4/math.Sqrt(n)+5e-4 {
					t.Errorf("%s: entropy = %.5f, want %.5f", tensor.DType, m.Entropy, tt.entropy)
				}
			}
		})
	}
}

func TestMomentsRefuse(t *testing.T) {
	bad := func(x float32) []float32 { return []float32{1, 2, x, 3, 4} }
	for want, tensor := range map[string]Tensor{
		"NaN or infinite":     tensorOf(t, bad(float32(math.NaN()))),
		"infinite":            tensorOf(t, bad(float32(math.Inf(-1)))),
		"too large to square": tensorOf(t, []float64{1e300, 0}),
		"no elements":         tensorOf(t, []float32{}),
	} {
		if _, err := tensor.Moments(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tensorOf(t, make([]float32, 10)).Moments(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestMomentsOfConstant has no spread: the entropy is that of the resolution.
func TestMomentsOfConstant(t *testing.T) {
	m, err := tensorOf(t, []float32{2, 2, 2, 2}).Moments(t.Context())
	if err != nil || m.Variance != 0 || m.Mean != 2 || math.IsNaN(m.Entropy) || math.IsInf(m.Entropy, 0) {
		t.Errorf("got %+v, %v", m, err)
	}
	if m, err = tensorOf(t, make([]float32, 4)).Moments(t.Context()); err != nil || !math.IsInf(m.Entropy, -1) {
		t.Errorf("zeros: %+v, %v", m, err)
	}
}

// BenchmarkMoments reads tensors that are in the page cache.
func BenchmarkMoments(b *testing.B) {
	const n = 1 << 26
	content := make([]byte, 4*n)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range n / 2 {
		x := math.Float32bits(float32(rng.NormFloat64()))
		for k := range 4 {
			content[8*i+k], content[8*i+4+k] = byte(x>>(8*k)), byte(x>>(8*k))
		}
	}
	for dtype, width := range map[string]int{"F32": 4, "BF16": 2, "F16": 2} {
		count := len(content) / width
		header := fmt.Sprintf(`{"w":{"dtype":%q,"shape":[%d],"data_offsets":[0,%d]}}`, dtype, count, len(content))
		if width == 2 { // finite in half precision
			for i := range content {
				if i%2 == 1 {
					content[i] &= 0xbf
				}
			}
		}
		f := open(b, writeTemp(b, "w.safetensors", append(encode(header, 0), content...)))
		b.Run(dtype, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := f.Tensors[0].Moments(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(dtype+"/touch", func(b *testing.B) { // one read of every cache line, on one core
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				var x byte
				for i := 0; i < len(content); i += 64 {
					x ^= f.Tensors[0].data[i]
				}
				sink = x
			}
		})
	}
}

var sink byte

// TestKernels compares the vector kernels with the plain code, block by block.
func TestKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, dtype := range []string{"F32", "BF16", "F16"} {
		kernel := kernelFor(dtype)
		if kernel == nil {
			t.Logf("this machine has no vector kernel for %s", dtype)
			continue
		}
		width := layouts[dtype].bytes
		src := make([]byte, 2*blockLen*width)
		for i := 0; i < len(src); i += width {
			bits := math.Float32bits(float32(5 + rng.NormFloat64()))
			if dtype == "F16" {
				bits = uint32(rng.IntN(0x7c00)|rng.IntN(2)<<15) << 16 // any finite one
			}
			for k := range width {
				src[i+k] = byte(bits >> (8 * (4 - width + k)))
			}
		}
		x := make([]float32, 2*blockLen)
		decoderFor[float32](dtype)(x, src)
		want, got := newSums(float64(x[0]), 1), newSums(float64(x[0]), 1)
		addBlock(&want, x)
		kernel(&src[0], blockLen, got.shift, &got.lanes)
		kernel(&src[blockLen*width], blockLen, got.shift, &got.lanes)
		got.fold()
		if got.min != want.min || got.max != want.max || math.Abs(got.s1-want.s1) > 1e-9 || math.Abs(got.s2/want.s2-1) > 1e-12 {
			t.Errorf("%s: sums %v %v, extremes %v %v, want %v %v, %v %v", dtype, got.s1, got.s2, got.min, got.max, want.s1, want.s2, want.min, want.max)
		}
	}
}

// BenchmarkKernels sums one block in the first-level cache.
func BenchmarkKernels(b *testing.B) {
	for _, dtype := range []string{"F32", "BF16", "F16"} {
		b.Run(dtype, func(b *testing.B) {
			kernel := kernelFor(dtype)
			if kernel == nil {
				b.Skip("SKIP: no vector kernel on this machine")
			}
			src := make([]byte, blockLen*layouts[dtype].bytes)
			s := newSums(0, 1)
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				kernel(&src[0], blockLen, 0, &s.lanes)
			}
		})
	}
}
