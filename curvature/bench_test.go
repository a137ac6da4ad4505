package curvature

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/kelvin-ml/kelvin/nn"
)

// large returns an MLP 784-256-256-10 and 1,024 random examples in batches.
func large(b *testing.B, batch int) (*nn.Network[float32], []nn.Batch[float32]) {
	spec, err := nn.ParseArch("784-256-256-10:relu", "ce")
	if err != nil {
		b.Fatal(err)
	}
	n, err := nn.New[float32](spec)
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	if err := n.Init("he", random); err != nil {
		b.Fatal(err)
	}
	var batches []nn.Batch[float32]
	for range 1024 / batch {
		x := nn.Batch[float32]{N: batch}
		for range batch * 784 {
			x.X = append(x.X, random.Float32())
		}
		for range batch {
			x.Labels = append(x.Labels, int32(random.IntN(10)))
		}
		batches = append(batches, x)
	}
	return n, batches
}

func BenchmarkProduct(b *testing.B) {
	n, batches := large(b, 512)
	op, err := NewOperator(n, batches, Hessian)
	if err != nil {
		b.Fatal(err)
	}
	v, out := make([]float64, op.Dim()), make([]float64, op.Dim())
	for i := range v {
		v[i] = float64(i%3) - 1
	}
	for b.Loop() {
		if err := op.Apply(v, out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLanczos(b *testing.B) {
	n, batches := large(b, 512)
	op, err := NewOperator(n, batches, Hessian)
	if err != nil {
		b.Fatal(err)
	}
	products := 0
	for b.Loop() {
		k, err := Lanczos(context.Background(), op, Layers(n), LanczosOptions{Top: 1, Bottom: 1, Tolerance: 1e-4, Steps: 200})
		if err != nil {
			b.Fatal(err)
		}
		products = k.Products
	}
	b.ReportMetric(float64(products), "products")
}

func BenchmarkExactTrace(b *testing.B) {
	n, batches := large(b, 512)
	for b.Loop() {
		if _, err := ExactTrace(n, batches, Hessian, false); err != nil {
			b.Fatal(err)
		}
	}
}
