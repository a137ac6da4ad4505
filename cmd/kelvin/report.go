package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/web"
)

func newReportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "report RUN --html FILE",
		Short: "Write the page of a run as one HTML file",
		Long: `Writes the dashboard's page of a run as one self-contained HTML file, to be sent
or archived: it needs neither a server nor the network.`,
		Example: `  kelvin report runs/digits --html digits.html`,
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			html := htmlFile(c)
			if html == "" {
				return usagef("--html: expected the file to write")
			}
			return writeRunPage(c, args[0], html, c.OutOrStdout())
		},
	}
	addHTMLFlag(c)
	return c
}

// writeRunPage writes the dashboard's page of a run, of one that was interrupted too.
func writeRunPage(cmd *cobra.Command, dir, html string, said io.Writer) error {
	if err := web.WriteReport(context.WithoutCancel(cmd.Context()), dir, html, cmd.Root().Annotations[commandAnnotation]); err != nil {
		return err
	}
	_, err := fmt.Fprintf(said, "wrote %s\n", html)
	return err
}
