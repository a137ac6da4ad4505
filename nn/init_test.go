package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/theory"
)

// draws are checked for mean, variance and fourth moment within 4 standard
// errors of 40,000 elements.
func TestInitScales(t *testing.T) {
	eta := func(q float64) float64 {
		phi, err := theory.ActivationByName("tanh")
		if err != nil {
			t.Fatal(err)
		}
		e, err := phi.Efficiency(q)
		if err != nil {
			t.Fatal(err)
		}
		return e.Efficiency
	}
	const in, width, out = 100, 400, 100
	for _, c := range []struct {
		scheme         string
		distribution   string
		first, second  float64 // variance of the weights of the two layers
		bias           float64 // standard deviation
		biasesRandom   bool
		fourthOverVar2 float64
	}{
		{"normal", "normal", 1. / in, 1. / width, 0, false, 3},
		{"normal(1.5,0.2)", "normal", 2.25 / in, 2.25 / width, 0.2, true, 3},
		{"uniform", "uniform", 1. / in, 1. / width, 0, false, 1.8},
		{"mixed(2)", "mixed", 4. / in, 4. / width, 0, false, 2.4},
		{"he", "normal", 2. / in, 2. / width, 0, false, 3},
		{"lecun", "normal", 1. / in, 1. / width, 0, false, 3},
		{"glorot", "uniform", 2. / (in + width), 2. / (in + width), 0, false, 1.8},
		{"orthogonal", "orthogonal", 1. / width, 1. / width, 0, false, 3},
		{"balanced", "normal", 1. / in, 1. / (width * (1 - eta(1))), 0, false, 3},
		{"balanced(0.3)", "normal", 1. / in, 1. / (width * (1 - eta(0.3))), 0, false, 3},
		{"pytorch", "uniform", 1. / (3 * in), 1. / (3 * width), 1 / math.Sqrt(3*in), true, 1.8},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			n, err := New[float64](arch(t, fmt.Sprintf("%d-%d-%d:tanh", in, width, out), "ce"))
			if err != nil {
				t.Fatal(err)
			}
			scales, err := n.InitScales(c.scheme)
			if err != nil {
				t.Fatal(err)
			}
			if len(scales) != 4 || scales[0].Tensor != "0.weight" || scales[0].Group != "0" || scales[0].Size != in*width || scales[3].Tensor != "2.bias" {
				t.Fatalf("scales %+v", scales)
			}
			closeTo(t, "variance of 0.weight", scales[0].Std*scales[0].Std, c.first, 1e-12)
			closeTo(t, "variance of 2.weight", scales[2].Std*scales[2].Std, c.second, 1e-12)
			closeTo(t, "spread of 0.bias", scales[1].Std, c.bias, 1e-12)
			if scales[0].Distribution != c.distribution || (scales[1].Distribution != "constant") != c.biasesRandom {
				t.Errorf("distributions %s and %s", scales[0].Distribution, scales[1].Distribution)
			}
			if err := n.Init(c.scheme, rand.New(rand.NewPCG(7, 8))); err != nil {
				t.Fatal(err)
			}
			for g, variance := range []float64{c.first, c.second} {
				w := n.Groups[g].Tensors[0]
				values := n.Params[w.Offset : w.Offset+w.Size()]
				count := float64(len(values))
				m1, m2, m4 := 0.0, 0.0, 0.0
				for _, v := range values {
					m1 += v / count
					m2 += v * v / count
					m4 += v * v * v * v / count
				}
				within(t, "mean", m1, 0, 4*math.Sqrt(variance/count))
				within(t, "variance", m2/variance, 1, 4*math.Sqrt((c.fourthOverVar2-1)/count))
				within(t, "fourth moment", m4/variance/variance, c.fourthOverVar2, 0.15)
			}
		})
	}
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %g, want %g ± %g", what, got, want, tolerance)
	}
}

func TestOrthogonal(t *testing.T) {
	n, err := New[float64](arch(t, "20-30-10:relu", "ce"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Init("orthogonal(1.5)", rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	first, second := n.Params[:600], n.Params[n.Groups[1].Offset:]
	dot := func(w []float64, i, j, stride, step, count int) (sum float64) {
		for k := range count {
			sum += w[i*stride+k*step] * w[j*stride+k*step]
		}
		return sum
	}
	for i := range 20 { // 30×20: orthonormal columns
		for j := range 20 {
			within(t, "columns", dot(first, i, j, 1, 20, 30), map[bool]float64{true: 2.25}[i == j], 1e-12)
		}
	}
	for i := range 10 { // 10×30: orthonormal rows
		for j := range 10 {
			within(t, "rows", dot(second, i, j, 30, 1, 30), map[bool]float64{true: 2.25}[i == j], 1e-12)
		}
	}
}

// The balanced initialisation keeps the signal energy through 20 wide layers of
// any activation. See docs/theory.md#t5.
func TestBalancedKeepsSignalEnergy(t *testing.T) {
	const width, depth = 300, 10
	for _, activation := range []string{"relu", "tanh", "gelu", "sin", "selu", "mish"} {
		n, err := New[float32](arch(t, "100"+strings.Repeat(fmt.Sprint("-", width), depth)+"-1:"+activation, "mse"))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Init("balanced", rand.New(rand.NewPCG(3, 4))); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Energy(randomBatch(n, 32, 5)); err != nil {
			t.Fatal(err)
		}
		for s := range n.Signals {
			q := 0.0
			for _, z := range s.Z {
				q += float64(z) * float64(z) / float64(len(s.Z))
			}
			if !(q > 0.6 && q < 1.6) { // fluctuations of order √(depth/width)
				t.Errorf("%s: signal energy %g before layer %s, want about 1", activation, q, s.Name)
			}
		}
	}
}

func TestInitRefuses(t *testing.T) {
	n, err := New[float64](arch(t, "2-3-1:relu", "mse"))
	if err != nil {
		t.Fatal(err)
	}
	for scheme, want := range map[string]string{
		"":              "expected normal, uniform",
		"xavier":        "expected normal, uniform",
		"he(2)":         "at most 0 numbers",
		"normal(0)":     "positive scale",
		"normal(1,-1)":  "none negative",
		"normal(1,2,3)": "at most 2",
		"normal(x)":     "finite numbers",
		"balanced(-1)":  "positive scale",
	} {
		if err := n.Init(scheme, rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Init(%q): error %v, want one saying %q", scheme, err, want)
		}
	}
}

func TestInitLayers(t *testing.T) {
	gpt, err := New[float64](layerSpec(t, []int{5}, sequenceCases["gpt"], "ce"))
	if err != nil {
		t.Fatal(err)
	}
	resnet, err := New[float64](layerSpec(t, []int{2, 5, 6}, layerCases["resnet"], "ce"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network        *Network[float64]
		scheme, tensor string
		distribution   string
		mean, variance float64
	}{
		{gpt, "he", "wte.weight", "normal", 0, 1},
		{gpt, "uniform(0.5)", "wte.weight", "uniform", 0, 0.25},
		{gpt, "he", "wpe.weight", "normal", 0, 1},
		{gpt, "normal(1,2)", "3.weight", "constant", 1, 0},
		{gpt, "normal(1,2)", "3.bias", "constant", 0, 0},
		{gpt, "he", "attn.in_proj_weight", "normal", 0, 2. / 8},
		{gpt, "normal(1,2)", "attn.out_proj.bias", "normal", 0, 4},
		{gpt, "orthogonal", "7.weight", "orthogonal", 0, 1. / 16},
		{resnet, "he", "stem.weight", "normal", 0, 2. / (2 * 9)},
		{resnet, "glorot", "stem.weight", "uniform", 0, 2. / (2*9 + 4*9)},
		{resnet, "orthogonal", "3.weight", "orthogonal", 0, 1. / 36},
		{resnet, "balanced", "stem.weight", "normal", 0, 1. / (2 * 9)},
		{resnet, "balanced", "3.weight", "normal", 0, 1 / (4 * 9 * siluKeeps(t))},
		{resnet, "pytorch", "13.bias", "uniform", 0, 1. / (3 * 6)},
	} {
		scales, err := c.network.InitScales(c.scheme)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, s := range scales {
			if s.Tensor != c.tensor {
				continue
			}
			found = true
			if s.Distribution != c.distribution || s.Mean != c.mean || math.Abs(s.Std*s.Std-c.variance) > 1e-12 {
				t.Errorf("%s of %s: %+v, want %s of mean %g, variance %g", c.scheme, c.tensor, s, c.distribution, c.mean, c.variance)
			}
		}
		if !found {
			t.Errorf("no tensor %s in %+v", c.tensor, scales)
		}
		if err := c.network.Init(c.scheme, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Error(err)
		}
	}
}

// siluKeeps returns 1 − η of silu at signal energy 1.
func siluKeeps(t *testing.T) float64 {
	phi, err := theory.ActivationByName("silu")
	if err != nil {
		t.Fatal(err)
	}
	e, err := phi.Efficiency(1)
	if err != nil {
		t.Fatal(err)
	}
	return 1 - e.Efficiency
}

func TestOptimizerRefuses(t *testing.T) {
	for _, c := range []struct {
		spec OptimizerSpec
		want string
	}{
		{OptimizerSpec{Kind: "lion"}, "expected sgd, adam or adamw"},
		{OptimizerSpec{Kind: "sgd", LearningRate: -1}, "finite constants"},
		{OptimizerSpec{Kind: "sgd", LearningRate: math.NaN()}, "finite constants"},
		{OptimizerSpec{Kind: "sgd", Momentum: 1}, "finite constants"},
		{OptimizerSpec{Kind: "adam", Beta2: 1}, "finite constants"},
		{OptimizerSpec{Kind: "adamw", Momentum: 0.9}, "use beta1"},
	} {
		if _, err := NewOptimizer[float32](c.spec, 3); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one saying %q", c.spec, err, c.want)
		}
	}
}
