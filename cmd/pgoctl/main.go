// Command pgoctl runs operations on services of a pgod: host:service//operation. It is an SSH
// client with pgo's grammar. It must not know what a host does with a command, and trusts nothing
// that a host prints.
package main

import "os"

func main() {
	os.Exit(run(catchSignals(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
