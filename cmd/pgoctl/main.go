// Command pgoctl carries out operations on services of a pgod: host:service//operation.
package main

import "os"

func main() {
	os.Exit(run(catchSignals(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
