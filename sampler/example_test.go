package sampler_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kelvin-ml/kelvin/sampler"
)

// A well is an energy of one's own: any type with these three methods is a
// Density.
type well struct{ centre, stiffness float64 }

func (well) Dim() int { return 1 }

func (w well) Energy(theta []float64) float64 { return w.Gradient(theta, make([]float64, 1)) }

func (w well) Gradient(theta, gradient []float64) float64 {
	x := theta[0] - w.centre
	gradient[0] = w.stiffness * x
	return w.stiffness * x * x / 2
}

// The variance in a well of stiffness 4 at T = 2 is 1/2.
func ExampleRun() {
	density := func(chain int) (sampler.Density, error) { return well{centre: 3, stiffness: 4}, nil }
	r, err := sampler.Run(context.Background(), density, sampler.NUTS{StepSize: 0.1},
		sampler.Options{Warmup: 500, Draws: 5000, Temperature: 2, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	s := r.Summaries()[0]
	fmt.Printf("%s: mean %.1f, variance %.1f\n", s.Name, s.Mean, s.SD*s.SD)
	fmt.Printf("thermometers: %s\n", r.ZerothLaw().Verdict)
	fmt.Printf("findings: %d\n", len(r.Findings()))
	// Output:
	// theta[1]: mean 3.0, variance 0.5
	// thermometers: equilibrium
	// findings: 0
}
