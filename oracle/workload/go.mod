module roadstead.dev/oracle/workload

go 1.26
