package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/power"
)

func newEnergyLogCommand() *cobra.Command {
	var root string
	var interval, duration time.Duration
	c := &cobra.Command{
		Use:   "log FILE.csv",
		Short: "Write what the CPUs draw, until Ctrl-C",
		Long: `Reads the energy counters of the CPUs and their memory (Linux powercap: RAPL of
Intel and AMD) at an interval, and writes the mean power of each to a new file, for
kelvin energy efficiency --power. Most systems let only root read them. For GPUs,
log with nvidia-smi instead:

  nvidia-smi --query-gpu=timestamp,index,power.draw,temperature.gpu --format=csv -l 1 > power.csv`,
		Example: "  sudo kelvin energy log cpu.csv",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if interval <= 0 || duration < 0 {
				return usagef("--interval %v, --for %v: expected positive times", interval, duration)
			}
			return runEnergyLog(c, args[0], root, interval, duration)
		},
	}
	flags := c.Flags()
	flags.DurationVar(&interval, "interval", time.Second, "between readings")
	flags.DurationVar(&duration, "for", 0, "stop after this time (default: Ctrl-C)")
	flags.StringVar(&root, "root", power.PowercapRoot, "`folder` of the counters")
	return c
}

func runEnergyLog(cmd *cobra.Command, path, root string, interval, duration time.Duration) (err error) {
	counters, err := power.OpenPowercap(root)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing power: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ctx := cmd.Context()
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	first := true
	traces, err := counters.Sample(ctx, interval, func(at time.Time, watts []float64) error {
		head := first
		first = false
		return power.WriteCSV(file, head, at, counters.Devices(), watts)
	})
	for _, t := range traces {
		if len(t.Time) < 2 {
			continue
		}
		seconds := t.Time[len(t.Time)-1] - t.Time[0]
		use, failed := t.Energy(t.Time[0], t.Time[len(t.Time)-1])
		if failed != nil {
			return errors.Join(err, failed)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-16s %.1f J in %.1f s, %.1f W\n", t.Device, use.Joules, seconds, use.Joules/seconds)
	}
	return err
}
