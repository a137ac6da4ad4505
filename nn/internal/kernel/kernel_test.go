package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// use makes s the set in use until the test ends.
func use(t testing.TB, s *set) {
	old := best
	best = s
	t.Cleanup(func() { best = old })
}

// threads sets GOMAXPROCS until the test ends.
func threads(t testing.TB, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// A problem is the arguments of Gemm.
type problem[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	a, b, c        []T
	lda, ldb, ldc  int
}

func (p problem[T]) String() string {
	return fmt.Sprintf("%T: transA %v, transB %v, m %d, n %d, k %d, α %g, β %g, lda %d, ldb %d, ldc %d",
		p.alpha, p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.beta, p.lda, p.ldb, p.ldc)
}

// newProblem draws a problem, with slack between rows and NaN in it: no kernel
// may read or write there. With β = 0 all of C is NaN.
func newProblem[T Float](rng *rand.Rand, m, n, k int) problem[T] {
	p := problem[T]{m: m, n: n, k: k, transA: rng.IntN(2) == 0, transB: rng.IntN(2) == 0}
	p.alpha = []T{1, 1, -0.5, 0}[rng.IntN(4)]
	p.beta = []T{0, 1, 0.25}[rng.IntN(3)]
	matrix := func(rows, columns int, trans bool) ([]T, int) {
		if trans {
			rows, columns = columns, rows
		}
		stride := max(1, columns+rng.IntN(2)*rng.IntN(5))
		x := make([]T, max(0, (rows-1)*stride+columns))
		for i := range x {
			if x[i] = T(rng.NormFloat64()); i%stride >= columns {
				x[i] = T(math.NaN())
			}
		}
		return x, stride
	}
	p.a, p.lda = matrix(m, k, p.transA)
	p.b, p.ldb = matrix(k, n, p.transB)
	p.c, p.ldc = matrix(m, n, false)
	if p.beta == 0 {
		for i := range p.c {
			p.c[i] = T(math.NaN())
		}
	}
	return p
}

// run returns C after Gemm.
func (p problem[T]) run() []T {
	c := append([]T{}, p.c...)
	Gemm(p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, c, p.ldc)
	return c
}

// check compares C with sums in float64, whose rounding is bounded by k+2
// roundings of Σ|a·b|.
func (p problem[T]) check(t *testing.T, c []T) {
	t.Helper()
	epsilon := 0x1p-24
	if _, ok := any(p.alpha).(float64); ok {
		epsilon = 0x1p-50
	}
	at := func(x []T, i, j, stride int, trans bool) float64 {
		if trans {
			i, j = j, i
		}
		return float64(x[i*stride+j])
	}
	for i, got := range c {
		row, column := i/p.ldc, i%p.ldc
		if column >= p.n {
			if !math.IsNaN(float64(got)) {
				t.Fatalf("%v: wrote %g behind row %d", p, got, row)
			}
			continue
		}
		want, size := 0.0, 0.0
		if p.beta != 0 {
			want = float64(p.beta) * float64(p.c[i])
			size = math.Abs(want)
		}
		for q := 0; q < p.k && p.alpha != 0; q++ {
			term := float64(p.alpha) * at(p.a, row, q, p.lda, p.transA) * at(p.b, q, column, p.ldb, p.transB)
			want += term
			size += math.Abs(term)
		}
		if !(math.Abs(float64(got)-want) <= float64(p.k+2)*epsilon*size) {
			t.Fatalf("%v: C[%d,%d] is %g, expected %g", p, row, column, got, want)
		}
	}
}

func TestGemm(t *testing.T) {
	for _, s := range sets {
		t.Run(s.name, func(t *testing.T) {
			use(t, s)
			rng := rand.New(rand.NewPCG(1, 0))
			for range 1500 {
				p := newProblem[float32](rng, rng.IntN(41), rng.IntN(41), rng.IntN(41))
				p.check(t, p.run())
			}
			sizes := []int{1, 2, 10, 64, 127, 129, 257, 300}
			pick := func() int { return sizes[rng.IntN(len(sizes))] }
			for range 60 {
				p := newProblem[float32](rng, pick(), pick(), pick())
				p.check(t, p.run())
			}
			for _, p := range []problem[float32]{ // several blocks each way
				newProblem[float32](rng, 3, 1100, 30), newProblem[float32](rng, 470, 9, 40), newProblem[float32](rng, 20, 33, 530),
			} {
				p.check(t, p.run())
			}
		})
	}
	t.Run("float64", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 0))
		for range 300 {
			p := newProblem[float64](rng, rng.IntN(41), rng.IntN(41), rng.IntN(41))
			p.check(t, p.run())
		}
	})
}

// The result must not depend on the number of threads, bit by bit.
func TestThreads(t *testing.T) {
	for _, s := range sets {
		use(t, s)
		rng := rand.New(rand.NewPCG(3, 0))
		for _, size := range [][3]int{{64, 512, 100}, {301, 127, 129}, {20, 1030, 300}} {
			p := newProblem[float32](rng, size[0], size[1], size[2])
			p.alpha = 1
			threads(t, 1)
			want := p.run()
			for _, n := range []int{2, 3, 8} {
				threads(t, n)
				for i, v := range p.run() {
					if math.Float32bits(v) != math.Float32bits(want[i]) {
						t.Fatalf("%s, %v: element %d is %g with %d threads, %g with one", s.name, p, i, v, n, want[i])
					}
				}
			}
		}
	}
}

// Callers of the same team must not disturb each other.
func TestConcurrentCallers(t *testing.T) {
	threads(t, 4)
	var callers sync.WaitGroup
	for caller := range 6 {
		rng := rand.New(rand.NewPCG(4, uint64(caller)))
		p := newProblem[float32](rng, 90+caller, 100, 70)
		p.alpha = 1
		want := p.run()
		callers.Go(func() {
			for range 20 {
				for i, v := range p.run() {
					if math.Float32bits(v) != math.Float32bits(want[i]) {
						t.Errorf("%v: element %d is %g, alone %g", p, i, v, want[i])
						return
					}
				}
			}
		})
	}
	callers.Wait()
}

func TestGemmAllocatesNothing(t *testing.T) {
	threads(t, 2)
	rng := rand.New(rand.NewPCG(5, 0))
	for _, size := range [][3]int{{3, 4, 5}, {30, 40, 50}, {128, 256, 100}} {
		p := newProblem[float32](rng, size[0], size[1], size[2])
		c := append([]float32{}, p.c...)
		if n := testing.AllocsPerRun(50, func() {
			Gemm(p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, c, p.ldc)
		}); n != 0 {
			t.Errorf("%v: %g allocations", p, n)
		}
	}
}

func TestGemmRefusesShortSlices(t *testing.T) {
	x := make([]float32, 100)
	for name, gemm := range map[string]func(){
		"A":   func() { Gemm(false, false, 10, 10, 10, 1, x[:99], 10, x, 10, 0, x, 10) },
		"B":   func() { Gemm(false, true, 10, 10, 10, 1, x, 10, x, 11, 0, x, 10) },
		"C":   func() { Gemm(false, false, 10, 10, 10, 1, x, 10, x, 10, 0, x, 11) },
		"lda": func() { Gemm(true, false, 10, 2, 2, 1, x, 9, x, 10, 0, x, 10) },
		"m":   func() { Gemm(false, false, -1, 2, 2, 1, x, 9, x, 10, 0, x, 10) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			gemm()
		}()
	}
}

func TestVectors(t *testing.T) {
	for _, s := range sets {
		t.Run(s.name, func(t *testing.T) {
			use(t, s)
			rng := rand.New(rand.NewPCG(6, 0))
			for n := range 140 {
				x, y, z := make([]float32, n), make([]float32, n), make([]float32, n+1)
				dotted, squares := 0.0, 0.0
				for i := range x {
					x[i], y[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
					dotted += float64(x[i]) * float64(y[i])
					squares += float64(x[i]) * float64(x[i])
				}
				near := func(what string, got, want float64) {
					if !(math.Abs(got-want) <= 1e-13*(1+squares)) {
						t.Fatalf("%s of %d elements is %g, expected %g", what, n, got, want)
					}
				}
				near("Dot", Dot(x, y), dotted)
				near("SumSquares", SumSquares(x), squares)
				z[n] = 7 // must survive
				Multiply(x, y, z[:n])
				for i := range x {
					if z[i] != x[i]*y[i] {
						t.Fatalf("Multiply: element %d of %d is %g", i, n, z[i])
					}
				}
				copy(z, y)
				Axpy(0.5, x, z[:n])
				for i := range x {
					if want := y[i] + 0.5*x[i]; math.Abs(float64(z[i]-want)) > 1e-6 {
						t.Fatalf("Axpy: element %d of %d is %g, expected %g", i, n, z[i], want)
					}
				}
				checkReLU(t, x)
				if z[n] != 7 {
					t.Fatalf("wrote behind %d elements", n)
				}
			}
			checkReLU(t, make([]float32, 40))
			nan := make([]float32, 40)
			for i := range nan {
				nan[i] = float32(math.NaN())
			}
			checkReLU(t, nan)
		})
	}
}

func checkReLU(t *testing.T, z []float32) {
	t.Helper()
	a, slope := make([]float32, len(z)), make([]float32, len(z))
	ReLU(z, a, slope)
	for i, v := range z {
		want := float32(0)
		if v > 0 {
			want = 1
		}
		if slope[i] != want || (a[i] != max(v, 0) && v == v) || (v != v && a[i] == a[i]) {
			t.Fatalf("ReLU(%g) is %g, slope %g", v, a[i], slope[i])
		}
	}
}

// The steps of the optimisers must agree with their formulas in float64.
func TestOptimizerSteps(t *testing.T) {
	const rate, decay, beta1, beta2, scale, epsilon, shrink = 0.1, 0.03, 0.9, 0.99, 1.7, 1e-3, 0.98
	for _, s := range sets {
		use(t, s)
		rng := rand.New(rand.NewPCG(7, 0))
		for n := range 70 {
			draw := func() []float32 {
				x := make([]float32, n)
				for i := range x {
					x[i] = rng.Float32()
				}
				return x
			}
			theta, first, second, grad := draw(), draw(), draw(), draw()
			params, velocity := append([]float32{}, theta...), append([]float32{}, first...)
			Momentum(rate, beta1, decay, params, velocity, grad)
			near := func(what string, i int, got float32, want float64) {
				if !(math.Abs(float64(got)-want) <= 1e-6*(1+math.Abs(want))) {
					t.Fatalf("%s: %s: element %d of %d is %g, expected %g", s.name, what, i, n, got, want)
				}
			}
			for i := range params {
				v := beta1*float64(first[i]) + float64(grad[i]) + decay*float64(theta[i])
				near("velocity", i, velocity[i], v)
				near("Momentum", i, params[i], float64(theta[i])-rate*v)
			}
			copy(params, theta)
			m, v := append([]float32{}, first...), append([]float32{}, second...)
			step := Adam{decay, beta1, 1 - beta1, beta2, 1 - beta2, scale, epsilon, rate, shrink}
			step.Step(params, m, v, grad)
			for i := range params {
				g := float64(grad[i]) + decay*float64(theta[i])
				wantM := beta1*float64(first[i]) + (1-beta1)*g
				wantV := beta2*float64(second[i]) + (1-beta2)*g*g
				near("first moment", i, m[i], wantM)
				near("second moment", i, v[i], wantV)
				near("Adam", i, params[i], shrink*float64(theta[i])-rate*wantM/(scale*math.Sqrt(wantV)+epsilon))
			}
		}
	}
}
