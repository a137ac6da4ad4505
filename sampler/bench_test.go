package sampler_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/sampler/posterior"
)

// BenchmarkPosteriorDB draws 4 × 1000 after a warm-up of 1000 and reports the
// effective sample size, of the parameter that has least, per second of the
// whole run, warm-up included.
func BenchmarkPosteriorDB(b *testing.B) {
	for _, c := range posteriordb {
		b.Run(c.name, func(b *testing.B) {
			text, err := os.ReadFile("testdata/posteriordb/" + c.data)
			if err != nil {
				b.Fatal(err)
			}
			data, err := posterior.ParseData(text)
			if err != nil {
				b.Fatal(err)
			}
			spec, err := posterior.ParseSpec([]byte(c.spec))
			if err != nil {
				b.Fatal(err)
			}
			var total float64
			for i := range b.N {
				r, err := sampler.Run(context.Background(), func(int) (sampler.Density, error) { return posterior.New(spec, data) },
					sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 1000, Draws: 1000, Seed: uint64(i), Dense: c.dense})
				if err != nil {
					b.Fatal(err)
				}
				least := math.Inf(1)
				for _, s := range r.Summaries() {
					least = min(least, s.ESSBulk, s.ESSTail)
				}
				total += least
			}
			b.ReportMetric(total/b.Elapsed().Seconds(), "ESS/s")
		})
	}
}

// BenchmarkSGLD is one step of SGLD with minibatches of 64 on digits; PyTorch
// does the same in bench/sgld.py.
func BenchmarkSGLD(b *testing.B) {
	set, err := dataset.Make("digits", dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, arch := range []string{"64-13-10:relu", "64-512-512-10:relu"} {
		spec, err := nn.ParseArch(arch, "ce")
		if err != nil {
			b.Fatal(err)
		}
		net, err := nn.New[float32](spec)
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		if err := net.Init("pytorch", rng); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d parameters", len(net.Params)), func(b *testing.B) {
			d, err := sampler.NewNetworkEnergy(net, set, 1)
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Minibatches(64, rng); err != nil {
				b.Fatal(err)
			}
			kernel := sampler.SGLD{StepSize: 1e-6}
			s, err := kernel.Init(d, d.Theta(), 1, rng)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := kernel.Step(d, s, rng); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
