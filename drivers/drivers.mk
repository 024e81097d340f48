# Sources and rules of drivers/.
