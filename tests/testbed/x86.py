"""An x86 virtual server in which nothing runs."""

ROOT_PORTS = 4

_MACHINES = {
    "pc": "<controller type='pci' index='0' model='pci-root'/>",
    "q35": "<controller type='pci' index='0' model='pcie-root'/>"
    + "<controller type='pci' model='pcie-root-port'/>" * ROOT_PORTS,
}


def x86_domain_xml(name: str, machine: str) -> str:
    """An emulated domain for `start --paused`, of the machine type `pc` or `q35`.

    Devices on PCI can be hotplugged (into a q35 as many as there are root ports to spare), but
    as no operating system is there to answer, an unplug stays pending for good.
    """
    return f"""
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
  </os>
  <features>
    <acpi/>
  </features>
  <devices>
    {_MACHINES[machine]}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
