package nn

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// GaussNewton writes the product of the energy's Gauss-Newton matrix (weight
// decay included) with v to out: JᵀSJv, J the Jacobian of the outputs and S the
// Hessian of the loss by the outputs. It is never indefinite, and what the
// Hessian is where the residuals vanish. For ce it is the Fisher information
// (J. Martens, arXiv 1412.1193). It fails as HVP does.
func (n *Network[T]) GaussNewton(b Batch[T], v, out []T) error {
	if len(v) != len(n.Params) || len(out) != len(n.Params) {
		return fmt.Errorf("product with the Gauss-Newton matrix: expected vectors of %d parameters, got %d and %d", len(n.Params), len(v), len(out))
	}
	if err := n.forward(b); err != nil {
		return err
	}
	if _, err := n.energy(b); err != nil {
		return err
	}
	// The Hessian-vector product at vanishing adjoints: what is left of it are
	// the terms without second derivatives of the network.
	for i := len(n.nodes) - 1; i > 0; i-- {
		y := n.nodes[i]
		y.d = fit(y.d, n.capacity*y.size)[:b.N*y.size]
		clear(y.d)
		y.seen = true
	}
	for i := len(n.nodes) - 1; i > 0; i-- { // what operations keep of their adjoint
		if y := n.nodes[i]; y.needs {
			y.op.backward(&n.pass, y)
		}
	}
	n.pass.v, n.pass.hv = v, out
	for _, y := range n.nodes[1:] {
		y.at = fit(y.at, n.capacity*y.size)[:b.N*y.size]
		y.dt = fit(y.dt, n.capacity*y.size)[:b.N*y.size]
		y.seenDt = false
		if y.needs {
			y.op.tangent(&n.pass, y)
		}
	}
	n.loss.cotangent(b, n.output())
	for i := len(n.nodes) - 1; i > 0; i-- {
		if y := n.nodes[i]; y.needs && y.seenDt {
			y.op.cotangent(&n.pass, y)
		}
	}
	n.pass.v, n.pass.hv = nil, nil
	if n.Spec.WeightDecay > 0 {
		kernel.Axpy(T(n.Spec.WeightDecay), v, out)
	}
	return nil
}
