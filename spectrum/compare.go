package spectrum

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

// Distance returns ‖B − A‖/‖A‖ of two tensors of one shape, in the Frobenius
// norm: how far training moved the weights. It streams.
func Distance(ctx context.Context, a, b checkpoint.Tensor) (float64, error) {
	if !slices.Equal(a.Shape, b.Shape) {
		return 0, fmt.Errorf("tensor %q: expected one shape in both checkpoints, got %v and %v", a.Name, a.Shape, b.Shape)
	}
	next, stop := iter.Pull2(b.Blocks())
	defer stop()
	var moved, size float64
	for x, err := range a.Blocks() {
		if err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		y, err, _ := next() // blocks of equal tensors have equal lengths
		if err != nil {
			return 0, err
		}
		for i := range x {
			moved += (y[i] - x[i]) * (y[i] - x[i])
			size += x[i] * x[i]
		}
	}
	if size == 0 {
		return 0, fmt.Errorf("tensor %q: all weights of the first checkpoint are zero", a.Name)
	}
	d := math.Sqrt(moved / size)
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return 0, fmt.Errorf("tensor %q: some weights are NaN or infinite", a.Name)
	}
	return d, nil
}
