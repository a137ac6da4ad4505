package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/monitor"
)

// What the curves of each scenario must show, and that plain convergence shows
// nothing on any of 20 seeds.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for ten seconds")
	}
	expected := map[string]struct {
		changes, driven string
		from, to        float64
	}{
		"grokking":        {changes: "held_out_accuracy", from: 500, to: 3000},
		"teacher-student": {changes: "held_out_loss", from: 3500, to: 6500},
		"rate-drop":       {changes: "kinetic temperature", from: 2300, to: 2800, driven: "learning rate 0.4 → 0.02 at step 2501"},
	}
	list, err := scenarios(20)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		dir := filepath.Join(t.TempDir(), s.name)
		if err := s.train(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
		h, err := monitor.ReadHistory(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		want, shows := expected[s.name]
		if !shows {
			if !strings.HasPrefix(s.name, "plain-") || len(h.Transitions) > 0 {
				t.Errorf("%s: false alarm: %+v", s.name, h.Transitions)
			}
			continue
		}
		found := false
		for _, transition := range h.Transitions {
			for _, c := range transition.Changes {
				found = found || h.Curves[c.Curve].Name == want.changes && c.First >= want.from && c.Last <= want.to && transition.Driven == want.driven
			}
		}
		if !found {
			t.Errorf("%s: expected %+v, found %+v", s.name, want, h.Transitions)
		}
	}
}
