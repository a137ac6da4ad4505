package main

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/training"
)

const limit = 356.15

func open4x4(t *testing.T, blocks bool) *chip {
	t.Helper()
	c, err := openChip(".", limit, "4x4", blocks)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Throttling costs time, coolers cost joules, and both are in the plan.
func TestPlans(t *testing.T) {
	c := open4x4(t, false)
	list, err := plans(context.Background(), c, filepath.Join("..", "..", "power", "testdata"), "imagenet")
	if err != nil {
		t.Fatal(err)
	}
	var rows [3]planRow
	for i, p := range list {
		if rows[i], err = c.row(p, p.job.Baseline); err != nil {
			t.Fatal(err)
		}
		b := p.job.Baseline
		if watts := b.Energy.Value / b.Time.Value; math.Abs(watts-rows[i].board-rows[i].coolers) > 1e-6*watts {
			t.Errorf("%s: the plan counts %.4f W, but board and coolers draw %.4f and %.4f W", p.name, watts, rows[i].board, rows[i].coolers)
		}
	}
	free, slow, cooled := list[0].job.Baseline, list[1].job.Baseline, list[2].job.Baseline
	if !(rows[0].peak > limit && math.Abs(rows[1].peak-limit) < 1e-6 && rows[2].peak <= limit) {
		t.Errorf("peaks %+v", rows)
	}
	if !(slow.Time.Value > 1.01*free.Time.Value && slow.Energy.Value < free.Energy.Value) {
		t.Errorf("throttled: %v in %v, as measured %v in %v", slow.Energy, slow.Time, free.Energy, free.Time)
	}
	if !(cooled.Time.Value == free.Time.Value && cooled.Energy.Value > free.Energy.Value && rows[2].coolers > 0.1) {
		t.Errorf("with coolers of %.3f W: %v in %v, as measured %v in %v", rows[2].coolers, cooled.Energy, cooled.Time, free.Energy, free.Time)
	}
	if a, b := list[0].job.Best, list[2].job.Best; a != b {
		t.Errorf("the setting of least energy is cool enough, but changed from %+v to %+v", a, b)
	}
}

func TestThrottle(t *testing.T) {
	speeds := []power.Speed{{Batch: 8, Watts: 100, Seconds: 50}, {Batch: 8, Watts: 200, Seconds: 30}, {Batch: 16, Watts: 120, Seconds: 1}}
	s, err := throttle(speeds[1], speeds, 150)
	if err != nil || s.Seconds != 40 || s.Watts != 150 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := throttle(speeds[1], speeds, 90); err == nil || !strings.Contains(err.Error(), "never measured at 90 W or less") {
		t.Errorf("%v", err)
	}
}

// A run that recorded its power heats the chip to the steady temperature at that power.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	spec, err := nn.ParseArch("2-2:relu", "mse")
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Create(dir, training.Config{Network: spec})
	if err != nil {
		t.Fatal(err)
	}
	for step := range 121 {
		if err := r.Append(run.Record{Step: int64(step), Time: 1e9 + 10*float64(step), Kind: run.KindStep, Values: map[string]float64{"power": 220}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	c := open4x4(t, true)
	var out bytes.Buffer
	if err := follow(context.Background(), &out, c, dir); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "2.64×10⁵ J in 1200 s; hottest 358.") || !strings.Contains(out.String(), "at 1200 s") {
		t.Errorf("%s", &out)
	}
	if err := follow(context.Background(), &out, c, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a run that is not there was followed")
	}
}
