# Sources and rules of efi/.
