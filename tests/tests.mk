# Sources and rules of tests/.
